/* FNV-1a with 64 bits (Fowler, Noll, Vo), and CRC-32C (Castagnoli; RFC 3720 appendix B.4), four
 * bits at a time: its only user writes a few hundred bytes a second. */
#include "base/hash.h"

uint64_t rf_hash_bytes(const void *data, size_t size, uint64_t start)
{
    const unsigned char *bytes = data;
    uint64_t hash = start != 0 ? start : 0xCBF29CE484222325U;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001B3U;
    }
    return hash;
}

/* Remainders of the sixteen values of four bits, polynomial 0x1EDC6F41 with its bits reversed. */
static const uint32_t crc_of_nibble[16] = {0x00000000U, 0x105EC76FU, 0x20BD8EDEU, 0x30E349B1U,
                                           0x417B1DBCU, 0x5125DAD3U, 0x61C69362U, 0x7198540DU,
                                           0x82F63B78U, 0x92A8FC17U, 0xA24BB5A6U, 0xB21572C9U,
                                           0xC38D26C4U, 0xD3D3E1ABU, 0xE330A81AU, 0xF36E6F75U};

uint32_t rf_crc32c(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    uint32_t crc = 0xFFFFFFFFU;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        crc = (crc >> 4) ^ crc_of_nibble[crc & 15U];
        crc = (crc >> 4) ^ crc_of_nibble[crc & 15U];
    }
    return crc ^ 0xFFFFFFFFU;
}
