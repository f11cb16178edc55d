/* How long work looks while it runs: one line that replaces itself on a terminal, plain lines
 * elsewhere. */
#include "progress.h"

#include "message.h"
#include "units.h"

#include <math.h>
#include <string.h>

enum { BAR_CELLS = 12, LINE_BYTES = 256 };

/* "[=====>    ]" of a share from 0 to 1. */
static void draw_bar(double share, char bar[BAR_CELLS + 3])
{
    int full = (int)(share * BAR_CELLS);
    full = full < 0 ? 0 : (full > BAR_CELLS ? BAR_CELLS : full);
    bar[0] = '[';
    memset(bar + 1, '=', (size_t)full);
    memset(bar + 1 + full, ' ', (size_t)(BAR_CELLS - full));
    bar[BAR_CELLS + 1] = ']';
    bar[BAR_CELLS + 2] = '\0';
}

/* "3.171 bits/byte", or by the token where bytes are no measure. */
static void write_bits(const rf_train_progress *progress, int digits, char *text, size_t size)
{
    bool bytes = isfinite(progress->bits_per_byte);
    snprintf(text, size, "%.*f bits/%s", digits,
             bytes ? progress->bits_per_byte : progress->bits_per_token, bytes ? "byte" : "token");
}

static void show_on_terminal(const rf_train_progress *progress)
{
    char bar[BAR_CELLS + 3];
    char left[32];
    char bits[32];
    char line[LINE_BYTES];
    double by_steps = progress->steps > 0 ? (double)progress->step / (double)progress->steps : 0.0;
    double whole = progress->seconds + progress->seconds_left;
    double by_time = whole > 0.0 ? progress->seconds / whole : 0.0;
    draw_bar(by_time > by_steps ? by_time : by_steps, bar);
    rf_cli_write_duration(progress->seconds_left, left, sizeof left);
    write_bits(progress, 3, bits, sizeof bits);
    snprintf(line, sizeof line, "%s %lld/%lld loss %.3f, %s, %.0f tokens/s, %s left", bar,
             (long long)progress->step, (long long)progress->steps, progress->loss, bits,
             progress->tokens_per_second, left);
    rf_cli_status_line(line);
}

static void show_line(const rf_train_progress *progress)
{
    char left[32];
    char bits[32];
    rf_cli_write_duration(progress->seconds_left, left, sizeof left);
    write_bits(progress, 4, bits, sizeof bits);
    fprintf(stderr, "step %lld/%lld  loss %.4f  %s  norm %.3f  rate %.3g  %.0f tokens/s  %s left\n",
            (long long)progress->step, (long long)progress->steps, progress->loss, bits,
            progress->gradient_norm, progress->rate, progress->tokens_per_second, left);
}

void rf_cli_figure_name(const rf_figure *figure, char *name, size_t size)
{
    size_t i = 0;
    for (; i + 1 < size && figure->name[i] != '\0'; i++) {
        name[i] = figure->name[i];
        name[i] = (char)(name[i] == '_' ? ' ' : name[i]);
    }
    name[i] = '\0';
}

static void show_validation(const rf_train_progress *progress)
{
    const rf_figures *figures = &progress->validation;
    rf_cli_status_clear();
    fprintf(stderr, "step %lld/%lld  validation", (long long)progress->step,
            (long long)progress->steps);
    for (int64_t i = 0; i < figures->count; i++) {
        const rf_figure *figure = &figures->items[i];
        char name[32];
        rf_cli_figure_name(figure, name, sizeof name);
        fprintf(stderr, figure->is_share ? "%s%s %.2f %%" : "%s%s %.4f", i > 0 ? "  " : " ", name,
                figure->is_share ? 100.0 * figure->value : figure->value);
    }
    fprintf(stderr, "%s\n", progress->is_best ? "  best" : "");
}

void rf_train_view_show(const rf_train_view *view, const rf_train_progress *progress)
{
    if (view->quiet) {
        return;
    }
    if (progress->has_validation) {
        show_validation(progress);
    }
    if (rf_cli_on_terminal()) {
        show_on_terminal(progress);
    } else if (!progress->has_validation &&
               (progress->step == 1 || progress->step % view->log_every == 0 ||
                progress->step == progress->steps)) {
        show_line(progress);
    }
}

void rf_train_view_sample(const rf_train_view *view, int64_t step, const char *bytes, size_t size)
{
    if (view->quiet) {
        return;
    }
    rf_cli_status_clear();
    fprintf(stderr, "step %lld wrote:\n    ", (long long)step);
    if (rf_cli_on_terminal()) {
        rf_cli_print_visible(stderr, bytes, size, "    ");
    } else {
        for (size_t i = 0; i < size; i++) {
            fputc(bytes[i], stderr);
            fputs(bytes[i] == '\n' ? "    " : "", stderr);
        }
    }
    fputc('\n', stderr);
}

void rf_cli_show_part(const char *what, int64_t done, int64_t total)
{
    char bar[BAR_CELLS + 3];
    char line[LINE_BYTES];
    draw_bar(total > 0 ? (double)done / (double)total : 0.0, bar);
    snprintf(line, sizeof line, "%s %s %lld of %lld tokens", bar, what, (long long)done,
             (long long)total);
    rf_cli_status_line(line);
}
