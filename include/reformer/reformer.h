/* The whole public interface. docs/api.md says which header has what; status.h has the conventions
 * that all functions share. */
#ifndef REFORMER_REFORMER_H
#define REFORMER_REFORMER_H
#include "reformer/bench.h"
#include "reformer/device.h"
#include "reformer/generate.h"
#include "reformer/inside.h"
#include "reformer/layer.h"
#include "reformer/model.h"
#include "reformer/probe.h"
#include "reformer/status.h"
#include "reformer/tasks.h"
#include "reformer/tokenizer.h"
#include "reformer/tools.h"
#include "reformer/train.h"
#endif
