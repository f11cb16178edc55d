/* All of the library's public interface. See model.h, generate.h, train.h and tools.h. */
#ifndef REFORMER_REFORMER_H
#define REFORMER_REFORMER_H
#include "reformer/generate.h"
#include "reformer/model.h"
#include "reformer/status.h"
#include "reformer/tools.h"
#include "reformer/train.h"
#endif
