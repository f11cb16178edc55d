/* reformer generate: a model goes on from a prompt; its bytes appear as they come. */
#include "generate_settings.h"
#include "message.h"
#include "output.h"

static int on_bytes(void *user, int64_t sample, const uint8_t *bytes, size_t size)
{
    return rf_output_write(user, sample, (const char *)bytes, size);
}

static int on_token(void *user, const rf_generated_token *token)
{
    return rf_output_token(user, token);
}

static int on_end(void *user, const rf_generated_text *text)
{
    return rf_output_finish(user, text);
}

static int on_prompt_token(void *user, const rf_generated_token *token)
{
    return rf_output_prompt_token(user, token) != 0 || rf_cli_stop_requested() != 0;
}

static int on_stop(void *user)
{
    (void)user;
    return rf_cli_stop_requested();
}

static void print_timing(const rf_generate_result *result)
{
    double rate =
        result->decode_seconds > 0.0 ? (double)result->new_tokens / result->decode_seconds : 0.0;
    double prompt = result->prefill_seconds;
    fprintf(stderr, "%lld prompt tokens in %.2fs, %lld new tokens in %.2fs (%.0f a second)\n",
            (long long)result->prompt_tokens, prompt, (long long)result->new_tokens,
            result->decode_seconds, rate);
}

static rf_status load(const rf_settings *settings, rf_model **model, rf_error *error)
{
    rf_model_options load_options = {
        .device = rf_settings_string(settings, "device"),
        .precision = rf_settings_string(settings, "precision"),
        .kernels = rf_settings_string(settings, "kernels"),
        .threads = (int)rf_settings_integer(settings, "threads"),
        .stream = rf_settings_string(settings, "stream"),
        .lm_head_bias = rf_settings_string(settings, "lm-head-bias"),
        .num_buckets = rf_settings_string(settings, "num-buckets"),
        .num_hashes = rf_settings_integer(settings, "num-hashes"),
        .attention = rf_settings_string(settings, "attention"),
        .extend_positions = rf_settings_integer(settings, "extend-positions"),
        .log = rf_cli_log(settings),
    };
    return rf_model_load(rf_settings_string(settings, "model"), &load_options, model, error);
}

/* How likely the prompt is. */
static rf_status score(const rf_generate_call *call, rf_model *model, rf_output *output,
                       rf_error *error)
{
    rf_score_result result = {0};
    const rf_prompt_text *prompt = call->options.prompts;
    rf_score_options options = {.text = prompt->bytes,
                                .size = prompt->size,
                                .seed = call->options.sampling.seed,
                                .likeliest = call->options.likeliest,
                                .log = call->options.log,
                                .token = on_prompt_token,
                                .user = output};
    rf_status status = rf_score(model, &options, &result, error);
    if (status == RF_OK) {
        rf_output_prompt(output, &result);
    }
    return status;
}

/* Score and generate, as far as they are asked for, into an output that is open. */
static rf_status write_all(const rf_settings *settings, rf_generate_call *call, rf_model *model,
                           rf_output *output, rf_generate_result *result, rf_error *error)
{
    rf_generate_options *options = &call->options;
    rf_status status = RF_OK;
    options->write = on_bytes;
    options->token = on_token;
    options->finished = on_end;
    options->should_stop = on_stop;
    options->whole_characters = output->whole_characters;
    options->user = output;
    output->tokenizer = call->tokenizer;
    rf_cli_catch_signals();
    if (rf_settings_flag(settings, "score")) {
        status = score(call, model, output, error);
    }
    if (status == RF_OK && rf_generate_writes(settings)) {
        status = rf_generate(model, options, result, error);
    }
    return output->status != RF_OK ? rf_output_failure(output, error) : status;
}

static rf_status generate(const rf_settings *settings, rf_generate_call *call, rf_model *model,
                          rf_error *error)
{
    rf_output output = {0};
    rf_generate_result result = {0};
    bool writes = rf_generate_writes(settings);
    rf_status status = rf_output_open(&output, settings, &call->options, error);
    if (status == RF_OK) {
        status = write_all(settings, call, model, &output, &result, error);
    }
    call->options.user = NULL;
    rf_error closing = {0};
    rf_status closed = rf_output_close(&output, writes ? &result : NULL, &closing);
    if (status == RF_OK && closed != RF_OK) {
        status = closed;
        *error = closing;
    }
    if (status == RF_OK && writes && !rf_settings_flag(settings, "quiet")) {
        print_timing(&result);
    }
    return status;
}

static int run(const rf_settings *settings)
{
    rf_error error = {0};
    rf_model *model = NULL;
    rf_generate_call call = {0};
    rf_status status = rf_generate_read_prompts(settings, &call, &error);
    if (status == RF_OK) {
        status = load(settings, &model, &error);
    }
    if (status == RF_OK) {
        status = rf_generate_prepare(settings, model, &call, &error);
    }
    if (status == RF_OK) {
        status = generate(settings, &call, model, &error);
    }
    rf_generate_clear(&call);
    rf_model_destroy(model);
    return rf_cli_report(settings->command, status, &error);
}

const rf_command rf_command_generate = {
    .name = "generate",
    .purpose = "Generate text from a prompt",
    .description =
        "Text appears as it is generated. The same seed, model and prompt give the same text on "
        "every run. Options that are not given default to the model's generation_config.json.",
    .examples =
        {"generate --model runs/book --prompt \"In the beginning\" --temperature 0.8",
         "generate --model runs/book --prompt-file start.txt --tokens 2000 --output more.txt"},
    .options = rf_generate_options_table,
    .option_count = RF_GENERATE_OPTION_COUNT,
    .shared =
        RF_SHARED_CONFIG | RF_SHARED_DEVICE | RF_SHARED_THREADS | RF_SHARED_JSON | RF_SHARED_QUIET,
    .check = rf_generate_check,
    .run = run,
};
