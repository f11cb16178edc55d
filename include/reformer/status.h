/* What every function that can fail returns, and the words that go with it.
 *
 *     rf_error error = {0};
 *     if (rf_model_load("my-model", &options, &model, &error) != RF_OK) {
 *         fprintf(stderr, "%s\n", error.message);
 *     }
 *
 * The function that detects a fault writes the error; those above it pass it on. `error` may be
 * NULL. */
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
    RF_ERR_MEMORY = -10,      /* memory is not to be had, or the plan exceeds the limit */
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

/* A short name of a status ("argument", "file", ...); never NULL. */
RF_API const char *rf_status_name(rf_status status);

/* The library's version, "MAJOR.MINOR.PATCH". */
RF_API const char *rf_version(void);

/* How the library speaks while it works: it never prints. Called from the thread that called in. */
typedef enum rf_log_level { RF_LOG_INFO, RF_LOG_NOTICE, RF_LOG_WARNING } rf_log_level;
typedef struct rf_log {
    void (*write)(void *user, rf_log_level level, const char *message); /* may be NULL: silence */
    void *user;
} rf_log;

#ifdef __cplusplus
}
#endif
#endif
