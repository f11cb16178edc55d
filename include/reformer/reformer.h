/* All of the library's public interface. See model.h, tasks.h, inside.h, probe.h, layer.h,
 * generate.h, train.h, tools.h, bench.h and device.h. */
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
