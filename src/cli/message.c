/* What the program says on standard error, how it ends, and how it hears that it should stop. */
#include "message.h"

#include "reformer/model.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static volatile sig_atomic_t signals_seen;
static bool status_line_shown;

bool rf_cli_on_terminal(void)
{
    return isatty(STDERR_FILENO) == 1;
}

void rf_cli_status_clear(void)
{
    if (status_line_shown) {
        fputs("\r\033[K", stderr);
        status_line_shown = false;
    }
}

/* Columns of the terminal on standard error; a longer line would wrap and stay. */
static int terminal_width(void)
{
    struct winsize size = {0};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
}

void rf_cli_status_line(const char *text)
{
    if (rf_cli_on_terminal()) {
        fprintf(stderr, "\r%.*s\033[K", terminal_width() - 1, text);
        fflush(stderr);
        status_line_shown = true;
    }
}

void rf_cli_message(const char *format, ...)
{
    va_list arguments;
    char text[RF_ERROR_MESSAGE_BYTES + 200];
    rf_cli_status_clear();
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fputs("reformer: ", stderr);
    rf_cli_print_visible(stderr, text, strlen(text), "");
    fputc('\n', stderr);
}

int rf_cli_report(const rf_command *command, rf_status status, const rf_error *error)
{
    if (status == RF_OK) {
        return RF_EXIT_DONE;
    }
    rf_cli_message("%s", error->message[0] != '\0' ? error->message : rf_status_name(status));
    switch (status) {
    case RF_ERR_ARGUMENT:
        fprintf(stderr, "try 'reformer %s%s--help'\n", command != NULL ? command->name : "",
                command != NULL ? " " : "");
        return RF_EXIT_MISUSED;
    case RF_ERR_MISMATCH:
        return RF_EXIT_CHECK_FAILED;
    case RF_ERR_CANCELLED:
        return RF_EXIT_INTERRUPTED;
    default:
        return RF_EXIT_FAILED;
    }
}

static void write_all(void *user, rf_log_level level, const char *message)
{
    (void)user;
    rf_cli_message("%s%s", level == RF_LOG_WARNING ? "warning: " : "", message);
}

static void write_warnings(void *user, rf_log_level level, const char *message)
{
    if (level == RF_LOG_WARNING) {
        write_all(user, level, message);
    }
}

rf_log rf_cli_log(const rf_settings *settings)
{
    return (rf_log){.write = rf_settings_flag(settings, "quiet") ? write_warnings : write_all};
}

static void count_signal(int number)
{
    (void)number;
    if (signals_seen >= 2) {
        _exit(RF_EXIT_INTERRUPTED);
    }
    signals_seen = signals_seen + 1;
}

void rf_cli_catch_signals(void)
{
    struct sigaction action = {0};
    action.sa_handler = count_signal;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction before;
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
        sigaction(SIGHUP, &action, NULL); /* not under nohup */
    }
}

void rf_cli_survive(void)
{
    rf_cli_catch_signals();
    (void)signal(SIGPIPE, SIG_IGN);
}

int rf_cli_stop_requested(void)
{
    return (int)signals_seen;
}

json_t *rf_cli_json_number(double value)
{
    return isfinite(value) != 0 ? json_real(value) : json_null();
}

int rf_cli_print_json(json_t *value)
{
    rf_bytes text = {0};
    rf_error error = {0};
    rf_status status = value != NULL
                           ? rf_bytes_append_json(&text, value, true, &error)
                           : rf_cli_fail(&error, RF_ERR_MEMORY, "out of memory for the result");
    if (status == RF_OK) {
        fwrite(text.data, 1, text.size, stdout);
        fputc('\n', stdout);
    }
    json_decref(value);
    rf_bytes_clear(&text);
    return rf_cli_report(NULL, status, &error);
}

int rf_cli_show_report(const rf_settings *settings, rf_status status, const rf_error *error,
                       char *report, void (*print)(const json_t *report))
{
    int code = rf_cli_report(settings->command, status, error);
    json_t *found = report != NULL ? json_loads(report, 0, NULL) : NULL;
    if (found != NULL && rf_settings_flag(settings, "json")) {
        code = rf_cli_print_json(json_incref(found));
    } else if (found != NULL) {
        print(found);
    }
    json_decref(found);
    rf_text_release(report);
    return code;
}
