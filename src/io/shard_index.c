/* Reading, checking and writing the index of io/shard_index.h. */
#include "io/shard_index.h"

#include "base/file.h"
#include "base/memory.h"

#include <string.h>

static rf_status check_shard_name(const char *index, const char *tensor, const json_t *value,
                                  rf_error *error)
{
    const char *name = json_string_value(value);
    if (name == NULL || name[0] == '\0') {
        return rf_error_set(error, RF_ERR_FORMAT, "%s: weight_map names no file for tensor %s",
                            index, tensor);
    }
    if (strchr(name, '/') != NULL || strstr(name, "..") != NULL) {
        return rf_error_set(error, RF_ERR_FORMAT,
                            "%s: weight_map puts tensor %s into \"%s\"; a shard must be in the "
                            "index's own folder",
                            index, tensor, name);
    }
    return RF_OK;
}

/* The distinct values of weight_map, as keys of a fresh object (which keeps them apart and in
 * order). */
static rf_status collect_shard_names(const rf_shard_index *index, json_t **names, rf_error *error)
{
    *names = json_object();
    const char *tensor = NULL;
    json_t *value = NULL;
    if (*names == NULL) {
        return rf_error_set(error, RF_ERR_MEMORY, "no memory for the index %s", index->path);
    }
    json_object_foreach(index->weight_map, tensor, value)
    {
        RF_TRY(check_shard_name(index->path, tensor, value, error));
        const char *name = json_string_value(value);
        if (json_object_get(*names, name) == NULL) {
            RF_TRY(rf_json_set(*names, name, json_true(), error));
        }
    }
    return RF_OK;
}

static rf_status make_paths(rf_shard_index *index, json_t *names, rf_error *error)
{
    const char *slash = strrchr(index->path, '/');
    int folder_length = slash != NULL ? (int)(slash - index->path) + 1 : 0;
    void *memory = NULL;
    RF_TRY(rf_allocate_zeroed(json_object_size(names) * sizeof *index->paths, "a list of shards",
                              &memory, error));
    index->paths = memory;
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach(names, name, value)
    {
        RF_TRY(rf_string_format(&index->paths[index->count], error, "%.*s%s", folder_length,
                                index->path, name));
        index->count++;
    }
    return RF_OK;
}

rf_status rf_shard_index_read(const char *path, rf_shard_index *index, rf_error *error)
{
    json_t *names = NULL;
    *index = (rf_shard_index){0};
    RF_TRY(rf_string_copy(path, &index->path, error));
    RF_TRY(rf_json_read_object(path, &index->object, error));
    index->weight_map = json_object_get(index->object, "weight_map");
    if (!json_is_object(index->weight_map) || json_object_size(index->weight_map) == 0) {
        return rf_error_set(error, RF_ERR_FORMAT,
                            "%s: expected a weight_map from tensor names to files", path);
    }
    rf_status status = collect_shard_names(index, &names, error);
    if (status == RF_OK) {
        status = make_paths(index, names, error);
    }
    json_decref(names);
    return status;
}

rf_status rf_shard_index_check(const rf_shard_index *index, const rf_safetensors *file,
                               rf_error *error)
{
    const char *tensor = NULL;
    json_t *value = NULL;
    json_object_foreach(index->weight_map, tensor, value)
    {
        const char *name = json_string_value(value);
        const rf_safetensors_entry *entry = rf_safetensors_find(file, tensor);
        const char *slash = entry != NULL ? strrchr(entry->path, '/') : NULL;
        const char *found = slash != NULL ? slash + 1 : entry != NULL ? entry->path : "";
        if (strcmp(found, name) != 0) {
            return rf_error_set(error, RF_ERR_FORMAT,
                                "%s: weight_map puts tensor %s into %s, but it is not there",
                                index->path, tensor, name);
        }
    }
    for (size_t i = 0; i < rf_safetensors_count(file); i++) {
        const rf_safetensors_entry *entry = rf_safetensors_at(file, i);
        if (json_object_get(index->weight_map, entry->name) == NULL) {
            return rf_error_set(error, RF_ERR_FORMAT,
                                "%s: tensor %s of %s is missing from weight_map", index->path,
                                entry->name, entry->path);
        }
    }
    return RF_OK;
}

void rf_shard_index_clear(rf_shard_index *index)
{
    for (size_t i = 0; i < index->count; i++) {
        rf_release(index->paths[i]);
    }
    rf_release(index->paths);
    json_decref(index->object);
    rf_release(index->path);
    *index = (rf_shard_index){0};
}

rf_status rf_shard_index_write(const char *folder, const char *name, uint64_t total_size,
                               json_t *weight_map, rf_error *error)
{
    json_t *index = json_pack("{s:{s:I}, s:O}", "metadata", "total_size", (json_int_t)total_size,
                              "weight_map", weight_map);
    if (index == NULL) {
        return rf_error_set(error, RF_ERR_MEMORY, "no memory for the index of shards");
    }
    char *path = NULL;
    rf_status status = rf_path_join(folder, name, &path, error);
    if (status == RF_OK) {
        status = rf_json_write(path, index, error);
    }
    rf_release(path);
    json_decref(index);
    return status;
}
