/* Status codes, error messages and logging; what all functions have in common.
 *
 *     rf_error error = {0};
 *     if (rf_model_load("my-model", &options, &model, &error) != RF_OK) {
 *         fprintf(stderr, "%s\n", error.message);
 *     }
 *
 * Conventions of all headers:
 * - A function that can fail returns rf_status and takes `error` last, which may be NULL. The
 *   function that detects a fault writes the message: what, where, expected, found, what to do.
 * - Besides the errors that a function names, any function that computes may return RF_ERR_MEMORY
 *   and RF_ERR_DEVICE, and any that writes a file RF_ERR_FILE and RF_ERR_NO_SPACE.
 * - Handles that a call creates are NULL after a failure. Destroy functions accept NULL.
 * - Arrays belong to the caller; [a, b] in a comment is a row-major shape. Strings and arrays in
 *   option structs are borrowed for the call. In options, zero or NULL means the default unless
 *   stated otherwise.
 * - Texts that the library returns (char **) are NUL-terminated and released with rf_text_release
 *   (model.h).
 * - Ids, positions, layers and heads count from 0. Losses are in nats, sizes in bytes.
 * - The library never prints, never exits and keeps no global state. One model, session or layer
 *   must not be used by two threads at once. */
#ifndef REFORMER_STATUS_H
#define REFORMER_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RF_API __attribute__((visibility("default")))
#define RF_MUST_CHECK __attribute__((warn_unused_result))
#define RF_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define RF_API
#define RF_MUST_CHECK
#define RF_PRINTF(text, first)
#endif

/* Groups of ten: argument, memory, file, format, unsupported, device, numeric, cancelled. */
typedef enum rf_status {
    RF_OK = 0,
    RF_ERR_ARGUMENT = -1,     /* a value that the caller gave is wrong */
    RF_ERR_CONFIG = -2,       /* a configuration contradicts itself or the request */
    RF_ERR_MEMORY = -10,      /* out of memory, or the plan exceeds the limit */
    RF_ERR_FILE = -20,        /* a file cannot be opened, read or written */
    RF_ERR_NO_SPACE = -21,    /* the disk is full */
    RF_ERR_FORMAT = -30,      /* a file is damaged or not what it should be */
    RF_ERR_UNSUPPORTED = -40, /* well formed, but this build or device cannot do it */
    RF_ERR_DEVICE = -50,      /* the device failed */
    RF_ERR_NUMERIC = -60,     /* NaN or infinity where a number is needed */
    RF_ERR_RANGE = -61,       /* a fixed-point stream would leave its range */
    RF_ERR_MISMATCH = -62,    /* a check the caller asked for did not hold */
    RF_ERR_CANCELLED = -70    /* stopped on request */
} rf_status;

enum { RF_ERROR_MESSAGE_BYTES = 512 };

typedef struct rf_error {
    rf_status code;
    char message[RF_ERROR_MESSAGE_BYTES]; /* what, where, expected, found, what to do; UTF-8,
                                             NUL-terminated */
} rf_error;

/* A short name for a status ("argument", "file", ...); never NULL. */
RF_API const char *rf_status_name(rf_status status);

/* The library's version, "MAJOR.MINOR.PATCH". */
RF_API const char *rf_version(void);

/* Messages while the library works. `write` is called from the calling thread; the message is
 * valid for the call. */
typedef enum rf_log_level { RF_LOG_INFO, RF_LOG_NOTICE, RF_LOG_WARNING } rf_log_level;
typedef struct rf_log {
    void (*write)(void *user, rf_log_level level, const char *message); /* NULL: silent */
    void *user;
} rf_log;

#ifdef __cplusplus
}
#endif
#endif
