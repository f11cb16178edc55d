/* The one file of C++: SentencePiece (Kudo and Richardson, 2018) behind the functions of
 * tokenizer/sentencepiece.h. No exception leaves it. Encoding is linear in the text for unigram
 * models, n log n for BPE; the library takes some tens of bytes for each byte of text. */
#include "tokenizer/sentencepiece.h"

#include "base/memory.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <unordered_map>
#include <vector>

struct rf_pieces {
    sentencepiece::SentencePieceProcessor processor;
    std::string path;
};

namespace
{

rf_status fail(rf_error *error, rf_status code, const char *where, const char *what)
{
    const char *after = std::strstr(what, "] "); /* behind the place in its source */
    what = after != nullptr && after[2] != '\0' ? after + 2 : what;
    return rf_error_set(error, code, "%s: SentencePiece says: %.300s", where, what);
}

/* What a body throws becomes a status. */
template <typename Body> rf_status guarded(const char *where, rf_error *error, Body body) noexcept
{
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return rf_error_set(error, RF_ERR_MEMORY, "%s: no memory for SentencePiece", where);
    } catch (const std::exception &thrown) {
        return fail(error, RF_ERR_FORMAT, where, thrown.what());
    } catch (...) {
        return fail(error, RF_ERR_FORMAT, where, "nothing");
    }
}

/* A copy in memory of ours. */
rf_status copy_bytes(const std::string &from, char **bytes, size_t *size, rf_error *error)
{
    void *memory = nullptr;
    RF_TRY(rf_allocate(from.size() + 1, "a text", &memory, error));
    std::memcpy(memory, from.c_str(), from.size() + 1);
    *bytes = static_cast<char *>(memory);
    *size = from.size();
    return RF_OK;
}

/* Room for `count` numbers. */
template <typename Number> rf_status take(size_t count, Number **numbers, rf_error *error)
{
    void *memory = nullptr;
    RF_TRY(rf_allocate(count * sizeof(Number), "token ids", &memory, error));
    *numbers = static_cast<Number *>(memory);
    return RF_OK;
}

absl::string_view view_of(const uint8_t *text, size_t size)
{
    return absl::string_view(reinterpret_cast<const char *>(text), text != nullptr ? size : 0);
}

/* The lines of a text, one after the other. */
class lines : public sentencepiece::SentenceIterator
{
  public:
    lines(const char *text, size_t size, size_t longest)
        : at_(text), end_(text + size), longest_(longest)
    {
        advance();
    }
    bool done() const override
    {
        return done_;
    }
    void Next() override
    {
        advance();
    }
    const std::string &value() const override
    {
        return line_;
    }
    sentencepiece::util::Status status() const override
    {
        return sentencepiece::util::Status();
    }

  private:
    void advance()
    {
        done_ = at_ == end_;
        if (done_) {
            return;
        }
        size_t left = static_cast<size_t>(end_ - at_);
        const void *newline = std::memchr(at_, '\n', left);
        size_t length = newline != nullptr
                            ? static_cast<size_t>(static_cast<const char *>(newline) - at_)
                            : left;
        bool cut = length > longest_;
        length = cut ? shorter() : length;
        line_.assign(at_, length);
        at_ += length + (newline != nullptr && !cut ? 1 : 0);
    }
    /* Up to a blank in the second half, else to the end of a character. */
    size_t shorter() const
    {
        for (size_t i = longest_; i > longest_ / 2; i--) {
            if (at_[i] == ' ') {
                return i;
            }
        }
        size_t i = longest_;
        while (i > longest_ - 4 && (static_cast<unsigned char>(at_[i]) & 0xc0U) == 0x80U) {
            i--;
        }
        return i;
    }
    const char *at_;
    const char *end_;
    size_t longest_;
    std::string line_;
    bool done_ = false;
};

rf_status encode_with_spans(const rf_pieces *pieces, absl::string_view text, int32_t **ids,
                            int64_t **begins, int64_t **ends, int64_t *count, rf_error *error)
{
    sentencepiece::ImmutableSentencePieceText encoded;
    auto status = pieces->processor.Encode(text, encoded.mutable_proto());
    if (!status.ok()) {
        return fail(error, RF_ERR_FORMAT, pieces->path.c_str(), status.error_message());
    }
    size_t length = encoded.pieces_size();
    RF_TRY(take(length, ids, error));
    RF_TRY(take(length, begins, error));
    RF_TRY(take(length, ends, error));
    for (size_t i = 0; i < length; i++) {
        const auto piece = encoded.pieces(static_cast<int>(i));
        (*ids)[i] = static_cast<int32_t>(piece.id());
        (*begins)[i] = piece.begin();
        (*ends)[i] = piece.end();
    }
    *count = static_cast<int64_t>(length);
    return RF_OK;
}

rf_status encode_ids(const rf_pieces *pieces, absl::string_view text, int32_t **ids, int64_t *count,
                     rf_error *error)
{
    std::vector<int> found;
    auto status = pieces->processor.Encode(text, &found);
    if (!status.ok()) {
        return fail(error, RF_ERR_FORMAT, pieces->path.c_str(), status.error_message());
    }
    RF_TRY(take(found.size(), ids, error));
    for (size_t i = 0; i < found.size(); i++) {
        (*ids)[i] = found[i];
    }
    *count = static_cast<int64_t>(found.size());
    return RF_OK;
}

} // namespace

extern "C" rf_status rf_pieces_load(const char *path, const void *model, size_t size,
                                    rf_pieces **pieces, rf_error *error)
{
    *pieces = nullptr;
    return guarded(path, error, [&]() -> rf_status {
        auto *loaded = new rf_pieces();
        loaded->path = path;
        auto status = loaded->processor.LoadFromSerializedProto(
            absl::string_view(static_cast<const char *>(model), size));
        if (!status.ok() || loaded->processor.GetPieceSize() < 1) {
            delete loaded;
            return rf_error_set(error, RF_ERR_FORMAT,
                                "%s: is not a SentencePiece model, or is damaged (%.200s)", path,
                                status.error_message());
        }
        *pieces = loaded;
        return RF_OK;
    });
}

extern "C" void rf_pieces_destroy(rf_pieces *pieces)
{
    delete pieces;
}

extern "C" int64_t rf_pieces_count(const rf_pieces *pieces)
{
    return pieces->processor.GetPieceSize();
}

extern "C" rf_piece rf_pieces_at(const rf_pieces *pieces, int64_t id)
{
    const int number = static_cast<int>(id);
    const std::string &text = pieces->processor.IdToPiece(number);
    const rf_piece_kind kind = pieces->processor.IsUnknown(number)   ? RF_PIECE_UNKNOWN
                               : pieces->processor.IsControl(number) ? RF_PIECE_CONTROL
                               : pieces->processor.IsByte(number)    ? RF_PIECE_BYTE
                                                                     : RF_PIECE_NORMAL;
    return rf_piece{text.data(), text.size(), kind};
}

extern "C" int64_t rf_pieces_special(const rf_pieces *pieces, const char *name)
{
    const auto &processor = pieces->processor;
    return std::strcmp(name, "unk") == 0   ? processor.unk_id()
           : std::strcmp(name, "bos") == 0 ? processor.bos_id()
           : std::strcmp(name, "eos") == 0 ? processor.eos_id()
           : std::strcmp(name, "pad") == 0 ? processor.pad_id()
                                           : -1;
}

extern "C" int64_t rf_pieces_find(const rf_pieces *pieces, const char *piece)
{
    const int id = pieces->processor.PieceToId(piece); /* <unk> for what is not there */
    return id >= 0 && pieces->processor.IdToPiece(id) == piece ? id : -1;
}

extern "C" rf_status rf_pieces_encode(const rf_pieces *pieces, const uint8_t *text, size_t size,
                                      int32_t **ids, int64_t **begins, int64_t **ends,
                                      int64_t *count, rf_error *error)
{
    *ids = nullptr;
    *count = 0;
    if (begins != nullptr) {
        *begins = nullptr;
        *ends = nullptr;
    }
    rf_status status = guarded(pieces->path.c_str(), error, [&]() -> rf_status {
        const absl::string_view view = view_of(text, size);
        return begins != nullptr ? encode_with_spans(pieces, view, ids, begins, ends, count, error)
                                 : encode_ids(pieces, view, ids, count, error);
    });
    if (status != RF_OK) {
        rf_release(*ids);
        *ids = nullptr;
        if (begins != nullptr) {
            rf_release(*begins);
            rf_release(*ends);
            *begins = nullptr;
            *ends = nullptr;
        }
    }
    return status;
}

extern "C" rf_status rf_pieces_decode(const rf_pieces *pieces, const int32_t *ids, int64_t count,
                                      char **text, size_t *size, rf_error *error)
{
    return guarded(pieces->path.c_str(), error, [&]() -> rf_status {
        std::string decoded;
        const std::vector<int> numbers(ids, ids + count);
        auto status = pieces->processor.Decode(numbers, &decoded);
        if (!status.ok()) {
            return fail(error, RF_ERR_FORMAT, pieces->path.c_str(), status.error_message());
        }
        return copy_bytes(decoded, text, size, error);
    });
}

extern "C" rf_status rf_pieces_train(const uint8_t *text, size_t size, size_t longest,
                                     const rf_pieces_setting *settings, size_t setting_count,
                                     char **model, size_t *model_size, rf_error *error)
{
    return guarded("training a vocabulary", error, [&]() -> rf_status {
        std::unordered_map<std::string, std::string> given;
        for (size_t i = 0; i < setting_count; i++) {
            given[settings[i].name] = settings[i].value;
        }
        lines sentences(reinterpret_cast<const char *>(text), size, longest);
        std::string trained;
        auto status = sentencepiece::SentencePieceTrainer::Train(given, &sentences, &trained);
        if (!status.ok()) {
            return fail(error, RF_ERR_ARGUMENT, "training a vocabulary", status.error_message());
        }
        return copy_bytes(trained, model, model_size, error);
    });
}
