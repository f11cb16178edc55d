/* Which file of a model directory holds the weights. */
#include "io/weights.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/torch_file.h"
#include "io/trax_file.h"

typedef rf_status (*opener)(const char *path, rf_safetensors **file, rf_error *error);

rf_status rf_weights_open(const char *folder, rf_safetensors **file, rf_error *error)
{
    static const struct {
        const char *name;
        opener open;
    } kinds[] = {
        {"model.safetensors", rf_safetensors_open},
        {"model.safetensors.index.json", rf_safetensors_open},
        {"pytorch_model.bin", rf_torch_open},
        {"pytorch_model.bin.index.json", rf_torch_open},
        {"model.pkl.gz", rf_trax_open},
        {"model.pkl", rf_trax_open},
    };
    *file = NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char *path = NULL;
        RF_TRY(rf_path_join(folder, kinds[i].name, &path, error));
        bool exists = rf_file_exists(path);
        rf_status status = exists ? kinds[i].open(path, file, error) : RF_OK;
        rf_release(path);
        if (exists) {
            return status;
        }
    }
    return rf_error_set(
        error, RF_ERR_FILE,
        "%s: there are no weights: neither model.safetensors nor pytorch_model.bin, nor the "
        "index of either",
        folder);
}
