/* Charts of the benchmarks, each as SVG and, where it can be, as PNG. */
#include "tools/draw.h"

#include "base/file.h"
#include "base/memory.h"

rf_status rf_draw_chart(const rf_chart *chart, const char *folder, const char *name,
                        rf_error *error)
{
    static const char *const endings[] = {"svg", "png"};
    RF_TRY(rf_folder_create(folder, error));
    for (size_t i = 0; i < 2; i++) {
        char *path = NULL;
        rf_error reason = {0};
        RF_TRY(rf_string_format(&path, error, "%s/%s.%s", folder, name, endings[i]));
        rf_status status = rf_chart_write(chart, path, &reason);
        rf_release(path);
        if (status != RF_OK && !(i == 1 && status == RF_ERR_UNSUPPORTED)) {
            return rf_error_set(error, status, "%s", reason.message);
        }
    }
    return RF_OK;
}
