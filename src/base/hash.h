/* Checksums: CRC-32C (event files) and a 64-bit hash of bytes (FNV-1a), for identity, not for
 * security. */
#ifndef RF_BASE_HASH_H
#define RF_BASE_HASH_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
uint64_t rf_hash_bytes(const void *data, size_t size,
                       uint64_t start); /* start: 0, or an earlier result to continue */
uint32_t rf_crc32c(const void *data, size_t size);
#ifdef __cplusplus
}
#endif
#endif
