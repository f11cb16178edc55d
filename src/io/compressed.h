/* Whole files that may be compressed: .xz (liblzma), .gz (zlib), .zst (libzstd), each where found
 * at build time; told by their first bytes, not by name. */
#ifndef RF_IO_COMPRESSED_H
#define RF_IO_COMPRESSED_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

/* The file's bytes, decompressed if need be, at most `limit`; released with rf_release. A format
 * whose library this build lacks is RF_ERR_UNSUPPORTED, naming the library and the command that
 * would unpack it; damaged data is RF_ERR_FORMAT. */
RF_MUST_CHECK rf_status rf_compressed_read(const char *path, size_t limit, uint8_t **bytes,
                                           size_t *size, rf_error *error);

#endif
