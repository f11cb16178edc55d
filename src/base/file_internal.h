/* Shared by the sources of file.h: the fault hook and one wording for a failed system call. */
#ifndef RF_BASE_FILE_INTERNAL_H
#define RF_BASE_FILE_INTERNAL_H

#include "base/file.h"

/* What the hook says about this call: 0 to go on, else the errno value to fail with. */
int rf_file_fault(const char *operation, const char *path, size_t size);
/* "PATH: cannot ACTION: REASON"; RF_ERR_NO_SPACE for a full disk or quota, else RF_ERR_FILE. */
rf_status rf_file_error(rf_error *error, const char *action, const char *path, int number);

#endif
