/* The stack machine of io/pickle.h. Operations are those that protocols 2 to 5 use for plain
 * values; anything else is refused by the name that pickletools gives it. */
#include "io/pickle.h"

#include "base/memory.h"

#include <string.h>

enum { MOST_VALUES = 1 << 20, BLOCK_BYTES = 1 << 16, LONGEST_NAME = 255 };

/* Memory is taken in blocks and given back together. */
typedef struct block {
    struct block *next;
    size_t used, size;
} block;

struct rf_pickle {
    block *blocks;
    rf_pickle_value *top;
};

typedef struct machine {
    const char *path;
    const uint8_t *start, *at, *end;
    const char *const *allowed;
    rf_pickle *pickle;
    rf_pickle_value **stack; /* [depth] */
    size_t depth, stack_capacity;
    rf_pickle_value **memo; /* [memo_capacity], NULL where nothing was put */
    size_t memo_capacity, memo_count;
    size_t values;
} machine;

/* ---- memory ------------------------------------------------------------------------------ */

static rf_status take(rf_pickle *pickle, size_t size, void **memory, rf_error *error)
{
    size_t aligned = (size + 15) & ~(size_t)15;
    block *first = pickle->blocks;
    if (first == NULL || aligned > first->size - first->used) {
        size_t room = aligned > BLOCK_BYTES ? aligned : BLOCK_BYTES;
        RF_TRY(rf_allocate(sizeof(block) + 16 + room, "a pickle's values", memory, error));
        block *fresh = *memory;
        *fresh = (block){.next = first, .used = 0, .size = room};
        pickle->blocks = first = fresh;
    }
    *memory = (char *)first + ((sizeof(block) + 15) & ~(size_t)15) + first->used;
    first->used += aligned;
    memset(*memory, 0, aligned);
    return RF_OK;
}

static rf_status damaged(const machine *m, const char *what, rf_error *error)
{
    return rf_error_set(error, RF_ERR_FORMAT, "%s: damaged pickle, near byte %zu: %s", m->path,
                        (size_t)(m->at - m->start), what);
}

/* Room for one more pointer, by doubling. */
static rf_status grow(rf_pickle_value ***items, size_t *capacity, size_t needed, const char *what,
                      rf_error *error)
{
    if (needed <= *capacity) {
        return RF_OK;
    }
    size_t larger = *capacity < 64 ? 64 : 2 * *capacity;
    larger = larger < needed ? needed : larger;
    void *memory = *items;
    RF_TRY(
        rf_reallocate(&memory, *capacity * sizeof **items, larger * sizeof **items, what, error));
    *items = memory;
    memset(*items + *capacity, 0, (larger - *capacity) * sizeof **items);
    *capacity = larger;
    return RF_OK;
}

static rf_status push(machine *m, rf_pickle_value *value, rf_error *error)
{
    RF_TRY(grow(&m->stack, &m->stack_capacity, m->depth + 1, "a pickle's stack", error));
    m->stack[m->depth++] = value;
    return m->depth > MOST_VALUES ? damaged(m, "the stack is too deep", error) : RF_OK;
}

static rf_status push_new(machine *m, rf_pickle_kind kind, rf_pickle_value **value, rf_error *error)
{
    void *memory = NULL;
    if (++m->values > MOST_VALUES) {
        return rf_error_set(error, RF_ERR_UNSUPPORTED,
                            "%s: the pickle holds more than %d values, which no model needs",
                            m->path, MOST_VALUES);
    }
    RF_TRY(take(m->pickle, sizeof **value, &memory, error));
    *value = memory;
    (*value)->kind = kind;
    return push(m, *value, error);
}

static rf_status pop(machine *m, rf_pickle_value **value, rf_error *error)
{
    if (m->depth == 0 || m->stack[m->depth - 1]->kind == RF_PICKLE_MARK) {
        return damaged(m, "a value is missing on the stack", error);
    }
    *value = m->stack[--m->depth];
    return RF_OK;
}

/* The values above the last mark: *items points into the stack, which is cut below the mark. */
static rf_status pop_to_mark(machine *m, rf_pickle_value ***items, size_t *count, rf_error *error)
{
    size_t mark = m->depth;
    while (mark > 0 && m->stack[mark - 1]->kind != RF_PICKLE_MARK) {
        mark--;
    }
    if (mark == 0) {
        return damaged(m, "a mark is missing on the stack", error);
    }
    *items = m->stack + mark;
    *count = m->depth - mark;
    m->depth = mark - 1;
    return RF_OK;
}

static rf_status append(machine *m, rf_pickle_value *to, rf_pickle_value *const *items,
                        size_t count, rf_error *error)
{
    size_t needed = to->count + count;
    m->values += count;
    if (m->values > 4 * (size_t)MOST_VALUES) {
        return damaged(m, "its containers hold more values than a model has", error);
    }
    if (needed > to->capacity) {
        void *memory = NULL;
        size_t larger = needed > 2 * to->capacity ? needed : 2 * to->capacity;
        RF_TRY(take(m->pickle, larger * sizeof(rf_pickle_value *), &memory, error));
        if (to->count > 0) {
            memcpy(memory, to->items, to->count * sizeof(rf_pickle_value *));
        }
        to->items = memory;
        to->capacity = larger;
    }
    if (count > 0) {
        memcpy(to->items + to->count, items, count * sizeof(rf_pickle_value *));
    }
    to->count = needed;
    return RF_OK;
}

/* ---- the stream -------------------------------------------------------------------------- */

static rf_status read_bytes(machine *m, uint64_t size, const uint8_t **bytes, rf_error *error)
{
    if (size > (uint64_t)(m->end - m->at)) {
        return damaged(m, "it is cut off", error);
    }
    *bytes = m->at;
    m->at += size;
    return RF_OK;
}

/* Little-endian, unsigned. */
static rf_status read_number(machine *m, int width, uint64_t *number, rf_error *error)
{
    *number = 0;
    if (m->end - m->at < width) {
        return damaged(m, "it is cut off", error);
    }
    for (int i = width - 1; i >= 0; i--) {
        *number = *number << 8 | m->at[i];
    }
    m->at += width;
    return RF_OK;
}

/* A line without its newline. */
static rf_status read_line(machine *m, const uint8_t **line, size_t *size, rf_error *error)
{
    const uint8_t *end = m->at < m->end ? memchr(m->at, '\n', (size_t)(m->end - m->at)) : NULL;
    if (end == NULL) {
        return damaged(m, "it is cut off in a name", error);
    }
    *line = m->at;
    *size = (size_t)(end - m->at);
    m->at = end + 1;
    return RF_OK;
}

static rf_status push_integer(machine *m, int64_t integer, rf_error *error)
{
    rf_pickle_value *value = NULL;
    RF_TRY(push_new(m, RF_PICKLE_INTEGER, &value, error));
    value->integer = integer;
    return RF_OK;
}

static rf_status push_bytes(machine *m, rf_pickle_kind kind, int width, rf_error *error)
{
    uint64_t size = 0;
    const uint8_t *bytes = NULL;
    rf_pickle_value *value = NULL;
    RF_TRY(read_number(m, width, &size, error));
    RF_TRY(read_bytes(m, size, &bytes, error));
    RF_TRY(push_new(m, kind, &value, error));
    value->bytes = (const char *)bytes;
    value->size = (size_t)size;
    return RF_OK;
}

static rf_status push_long(machine *m, int width, rf_error *error)
{
    RF_TRY(push_bytes(m, RF_PICKLE_BIG_INTEGER, width, error));
    rf_pickle_value *value = m->stack[m->depth - 1];
    if (value->size <= 8) {
        uint64_t bits =
            value->size > 0 && (value->bytes[value->size - 1] & 0x80) != 0 ? UINT64_MAX : 0;
        for (size_t i = value->size; i > 0; i--) {
            bits = bits << 8 | (uint8_t)value->bytes[i - 1];
        }
        value->kind = RF_PICKLE_INTEGER;
        value->integer = (int64_t)bits;
    }
    return RF_OK;
}

/* Big-endian, unlike everything else. */
static rf_status push_real(machine *m, rf_error *error)
{
    rf_pickle_value *value = NULL;
    uint64_t number = 0;
    RF_TRY(read_number(m, 8, &number, error));
    number = __builtin_bswap64(number);
    RF_TRY(push_new(m, RF_PICKLE_REAL, &value, error));
    memcpy(&value->real, &number, sizeof number);
    return RF_OK;
}

/* ---- operations -------------------------------------------------------------------------- */

static rf_status read_scalar(machine *m, uint8_t operation, bool *known, rf_error *error)
{
    rf_pickle_value *value = NULL;
    uint64_t number = 0;
    switch (operation) {
    case 'N':
        return push_new(m, RF_PICKLE_NONE, &value, error);
    case 0x88: /* NEWTRUE */
    case 0x89: /* NEWFALSE */
        RF_TRY(push_new(m, RF_PICKLE_BOOLEAN, &value, error));
        value->integer = operation == 0x88 ? 1 : 0;
        return RF_OK;
    case 'J': /* BININT, signed */
        RF_TRY(read_number(m, 4, &number, error));
        return push_integer(m, (int32_t)(uint32_t)number, error);
    case 'K':
    case 'M':
        RF_TRY(read_number(m, operation == 'K' ? 1 : 2, &number, error));
        return push_integer(m, (int64_t)number, error);
    case 0x8a: /* LONG1 */
    case 0x8b: /* LONG4 */
        return push_long(m, operation == 0x8a ? 1 : 4, error);
    case 'G':
        return push_real(m, error);
    default:
        *known = false;
        return RF_OK;
    }
}

static rf_status read_string(machine *m, uint8_t operation, bool *known, rf_error *error)
{
    switch (operation) {
    case 'X': /* BINUNICODE */
        return push_bytes(m, RF_PICKLE_TEXT, 4, error);
    case 0x8c: /* SHORT_BINUNICODE */
        return push_bytes(m, RF_PICKLE_TEXT, 1, error);
    case 0x8d: /* BINUNICODE8 */
        return push_bytes(m, RF_PICKLE_TEXT, 8, error);
    case 'U': /* SHORT_BINSTRING: Python 2's str, here always a name */
        return push_bytes(m, RF_PICKLE_TEXT, 1, error);
    case 'C': /* SHORT_BINBYTES */
        return push_bytes(m, RF_PICKLE_BYTES, 1, error);
    case 'B': /* BINBYTES */
        return push_bytes(m, RF_PICKLE_BYTES, 4, error);
    case 0x8e: /* BINBYTES8 */
        return push_bytes(m, RF_PICKLE_BYTES, 8, error);
    default:
        *known = false;
        return RF_OK;
    }
}

/* `count` values from the top of the stack (from the last mark: count < 0) become one container. */
static rf_status collect(machine *m, rf_pickle_kind kind, int count, rf_error *error)
{
    rf_pickle_value *value = NULL;
    rf_pickle_value **items = NULL;
    rf_pickle_value *few[3] = {NULL, NULL, NULL};
    size_t found = 0;
    void *memory = NULL;
    if (count < 0) {
        RF_TRY(pop_to_mark(m, &items, &found, error));
    } else {
        found = (size_t)count;
        for (size_t i = found; i > 0; i--) {
            RF_TRY(pop(m, &few[i - 1], error));
        }
        items = few;
    }
    if (kind == RF_PICKLE_DICT && found % 2 != 0) {
        return damaged(m, "a key without a value", error);
    }
    RF_TRY(take(m->pickle, sizeof *value, &memory,
                error)); /* before it is pushed: items lie on the stack */
    value = memory;
    value->kind = kind;
    RF_TRY(append(m, value, items, found, error));
    m->values++;
    return push(m, value, error);
}

/* Values given to a container that lies below them. */
static rf_status add_items(machine *m, bool pairs, bool many, rf_error *error)
{
    rf_pickle_value **items = NULL;
    rf_pickle_value *few[2] = {NULL, NULL};
    size_t count = pairs ? 2 : 1;
    if (many) {
        RF_TRY(pop_to_mark(m, &items, &count, error));
    } else {
        for (size_t i = count; i > 0; i--) {
            RF_TRY(pop(m, &few[i - 1], error));
        }
        items = few;
    }
    rf_pickle_value *to = m->depth > 0 ? m->stack[m->depth - 1] : NULL;
    bool fits = to != NULL && (pairs ? to->kind == RF_PICKLE_DICT || to->kind == RF_PICKLE_CALL
                                     : to->kind == RF_PICKLE_LIST);
    if (!fits || (pairs && count % 2 != 0)) {
        return damaged(m, "items for something that holds none", error);
    }
    return append(m, to, items, count, error);
}

static rf_status read_container(machine *m, uint8_t operation, bool *known, rf_error *error)
{
    switch (operation) {
    case ')':
        return collect(m, RF_PICKLE_TUPLE, 0, error);
    case 0x85: /* TUPLE1, 2, 3 */
    case 0x86:
    case 0x87:
        return collect(m, RF_PICKLE_TUPLE, operation - 0x84, error);
    case 't':
        return collect(m, RF_PICKLE_TUPLE, -1, error);
    case ']':
        return collect(m, RF_PICKLE_LIST, 0, error);
    case 'l':
        return collect(m, RF_PICKLE_LIST, -1, error);
    case '}':
        return collect(m, RF_PICKLE_DICT, 0, error);
    case 'd':
        return collect(m, RF_PICKLE_DICT, -1, error);
    case 'a':
    case 'e':
        return add_items(m, false, operation == 'e', error);
    case 's':
    case 'u':
        return add_items(m, true, operation == 'u', error);
    default:
        *known = false;
        return RF_OK;
    }
}

static rf_status push_global(machine *m, const uint8_t *module, size_t module_size,
                             const uint8_t *name, size_t name_size, rf_error *error)
{
    char joined[LONGEST_NAME + 1];
    rf_pickle_value *value = NULL;
    void *memory = NULL;
    size_t size = module_size + 1 + name_size;
    if (module_size > LONGEST_NAME || name_size > LONGEST_NAME || size > LONGEST_NAME) {
        return damaged(m, "a name of over 255 bytes", error);
    }
    memcpy(joined, module, module_size);
    joined[module_size] = '.';
    memcpy(joined + module_size + 1, name, name_size);
    joined[size] = '\0';
    for (size_t i = 0; i < size; i++) {
        if ((uint8_t)joined[i] < 0x21 || (uint8_t)joined[i] > 0x7e) {
            return damaged(m, "a name that is none", error);
        }
    }
    for (size_t i = 0; m->allowed[i] != NULL; i++) {
        if (strcmp(m->allowed[i], joined) == 0) {
            RF_TRY(push_new(m, RF_PICKLE_GLOBAL, &value, error));
            RF_TRY(take(m->pickle, size + 1, &memory, error));
            memcpy(memory, joined, size);
            value->bytes = memory;
            value->size = size;
            return RF_OK;
        }
    }
    return rf_error_set(error, RF_ERR_UNSUPPORTED,
                        "%s: the pickle refers to %s, which a file of weights does not need; "
                        "nothing of it was executed",
                        m->path, joined);
}

static rf_status read_global(machine *m, bool from_stack, rf_error *error)
{
    const uint8_t *module = NULL;
    const uint8_t *name = NULL;
    size_t sizes[2] = {0, 0};
    if (!from_stack) {
        RF_TRY(read_line(m, &module, &sizes[0], error));
        RF_TRY(read_line(m, &name, &sizes[1], error));
        return push_global(m, module, sizes[0], name, sizes[1], error);
    }
    rf_pickle_value *last = NULL;
    rf_pickle_value *first = NULL;
    RF_TRY(pop(m, &last, error));
    RF_TRY(pop(m, &first, error));
    if (last->kind != RF_PICKLE_TEXT || first->kind != RF_PICKLE_TEXT) {
        return damaged(m, "a name that is no text", error);
    }
    return push_global(m, (const uint8_t *)first->bytes, first->size, (const uint8_t *)last->bytes,
                       last->size, error);
}

static rf_status read_call(machine *m, uint8_t operation, rf_error *error)
{
    rf_pickle_value *argument = NULL;
    rf_pickle_value *target = NULL;
    rf_pickle_value *value = NULL;
    RF_TRY(pop(m, &argument, error));
    if (operation == 'Q') {
        RF_TRY(push_new(m, RF_PICKLE_PERSISTENT, &value, error));
        value->argument = argument;
        return RF_OK;
    }
    RF_TRY(pop(m, &target, error));
    if (operation == 'b') {
        if (target->kind != RF_PICKLE_CALL) {
            return damaged(m, "a state for something that has none", error);
        }
        target->state = argument;
        return push(m, target, error);
    }
    if (target->kind != RF_PICKLE_GLOBAL || argument->kind != RF_PICKLE_TUPLE) {
        return damaged(m, "a call of something that is no name", error);
    }
    RF_TRY(push_new(m, RF_PICKLE_CALL, &value, error));
    value->callable = target;
    value->argument = argument;
    return RF_OK;
}

static rf_status put_memo(machine *m, uint64_t index, rf_error *error)
{
    if (index >= MOST_VALUES || m->depth == 0 || m->stack[m->depth - 1]->kind == RF_PICKLE_MARK) {
        return damaged(m, "nothing that could be remembered", error);
    }
    RF_TRY(grow(&m->memo, &m->memo_capacity, (size_t)index + 1, "a pickle's memory", error));
    m->memo_count += m->memo[index] == NULL ? 1 : 0;
    m->memo[index] = m->stack[m->depth - 1];
    return RF_OK;
}

static rf_status get_memo(machine *m, uint64_t index, rf_error *error)
{
    if (index >= m->memo_capacity || m->memo[index] == NULL) {
        return damaged(m, "something is remembered that was never put there", error);
    }
    return push(m, m->memo[index], error);
}

static rf_status read_memo(machine *m, uint8_t operation, bool *known, rf_error *error)
{
    uint64_t index = 0;
    switch (operation) {
    case 'q':
    case 'r':
        RF_TRY(read_number(m, operation == 'q' ? 1 : 4, &index, error));
        return put_memo(m, index, error);
    case 0x94: /* MEMOIZE */
        return put_memo(m, m->memo_count, error);
    case 'h':
    case 'j':
        RF_TRY(read_number(m, operation == 'h' ? 1 : 4, &index, error));
        return get_memo(m, index, error);
    default:
        *known = false;
        return RF_OK;
    }
}

static rf_status read_rest(machine *m, uint8_t operation, bool *known, rf_error *error)
{
    rf_pickle_value *value = NULL;
    rf_pickle_value **items = NULL;
    uint64_t number = 0;
    size_t count = 0;
    switch (operation) {
    case '(':
        return push_new(m, RF_PICKLE_MARK, &value, error);
    case '0':
        return pop(m, &value, error);
    case '1':
        return pop_to_mark(m, &items, &count, error);
    case 'c':
    case 0x93: /* STACK_GLOBAL */
        return read_global(m, operation == 0x93, error);
    case 'R':
    case 'b':
    case 'Q':
        return read_call(m, operation, error);
    case 0x80: /* PROTO */
        RF_TRY(read_number(m, 1, &number, error));
        return number < 2 || number > 5 ? damaged(m, "a protocol other than 2 to 5", error) : RF_OK;
    case 0x95: /* FRAME: only says how much to read ahead */
        return read_number(m, 8, &number, error);
    default:
        *known = false;
        return RF_OK;
    }
}

static rf_status step(machine *m, uint8_t operation, rf_error *error)
{
    typedef rf_status (*reader)(machine * m, uint8_t operation, bool *known, rf_error *error);
    static const reader readers[] = {read_scalar, read_string, read_container, read_memo,
                                     read_rest};
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++) {
        bool known = true;
        rf_status status = readers[i](m, operation, &known, error);
        if (known || status != RF_OK) {
            return status;
        }
    }
    return rf_error_set(
        error, RF_ERR_UNSUPPORTED,
        "%s: byte %zu of the pickle is operation 0x%02x, which no file of weights needs", m->path,
        (size_t)(m->at - m->start) - 1, operation);
}

static rf_status run(machine *m, rf_error *error)
{
    if (m->at == m->end || *m->at != 0x80) {
        return damaged(m, "it does not begin as a pickle of protocol 2 or later", error);
    }
    for (;;) {
        uint64_t operation = 0;
        RF_TRY(read_number(m, 1, &operation, error));
        if (operation == '.') {
            return pop(m, &m->pickle->top, error);
        }
        RF_TRY(step(m, (uint8_t)operation, error));
    }
}

rf_status rf_pickle_read(const char *path, const uint8_t *bytes, size_t size,
                         const char *const *allowed, rf_pickle **pickle, size_t *used,
                         rf_error *error)
{
    void *memory = NULL;
    *pickle = NULL;
    *used = 0;
    RF_TRY(rf_allocate_zeroed(sizeof **pickle, "a pickle", &memory, error));
    machine m = {.path = path,
                 .start = bytes,
                 .at = bytes,
                 .end = bytes + size,
                 .allowed = allowed,
                 .pickle = memory};
    rf_status status = run(&m, error);
    rf_release(m.stack);
    rf_release(m.memo);
    if (status != RF_OK) {
        rf_pickle_release(m.pickle);
        return status;
    }
    *pickle = m.pickle;
    *used = (size_t)(m.at - m.start);
    return RF_OK;
}

void rf_pickle_release(rf_pickle *pickle)
{
    while (pickle != NULL && pickle->blocks != NULL) {
        block *first = pickle->blocks;
        pickle->blocks = first->next;
        rf_release(first);
    }
    rf_release(pickle);
}

const rf_pickle_value *rf_pickle_top(const rf_pickle *pickle)
{
    return pickle->top;
}
