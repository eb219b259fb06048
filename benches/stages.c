/* What a five-field Read is made of, one stage after the other: methods that all look alike to the interpreter
 * (`METH_FASTCALL | METH_KEYWORDS`, five positional arguments, `None` back) and each do one thing more than the one
 * before. `empty` is what the hot call is measured against; the rest says where the time goes. Compiled by
 * `stages.py` when it is needed; no part of the product, which does all of this in Rust.
 *
 * The ring is a private mapping of the default ring's size; nobody drains it: `reset` makes room between two rounds.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#define RING ((uint64_t)16 << 20)
#define CONTEXT 136
#define HEAD 32

/* Tail and head on lines of their own, as in the real ring. */
static struct {
    _Alignas(128) _Atomic uint64_t tail;
    _Alignas(128) _Atomic uint64_t head;
} positions;
static char *ring;
static char context[CONTEXT];
/* Known only when it runs, as a session's is. */
static size_t context_len;

typedef struct {
    const char *topic;
    size_t topic_len;
    int64_t numbers[4];
} Fields;

static inline uint64_t stamp(void)
{
#if defined(__x86_64__)
    return __rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
#error "no cheap clock is known here"
#endif
}

static inline int parse(PyObject *const *args, Py_ssize_t given, Fields *fields)
{
    Py_ssize_t len;
    if (given != 5)
        return 0;
    fields->topic = PyUnicode_AsUTF8AndSize(args[0], &len);
    if (fields->topic == NULL || len > 249 || memchr(fields->topic, 0, (size_t)len) != NULL)
        return 0;
    fields->topic_len = (size_t)len;
    for (int i = 0; i < 4; i++) {
        int overflow = 0;
        if (!PyLong_CheckExact(args[i + 1]))
            return 0;
        fields->numbers[i] = PyLong_AsLongLongAndOverflow(args[i + 1], &overflow);
        if (overflow || fields->numbers[i] < 0)
            return 0;
    }
    return 1;
}

/* Claim: room checked, tail moved, the record's header stored with a negative length. */
static inline char *claim(int64_t len)
{
    uint64_t tail = atomic_load_explicit(&positions.tail, memory_order_relaxed);
    do {
        uint64_t head = atomic_load_explicit(&positions.head, memory_order_acquire);
        if (tail + (uint64_t)len - head > RING)
            return NULL;
    } while (!atomic_compare_exchange_weak(&positions.tail, &tail, tail + (uint64_t)len));
    char *record = ring + tail % RING;
    atomic_store_explicit((_Atomic int64_t *)record, -len, memory_order_relaxed);
    return record;
}

static inline void commit(char *record, int64_t len)
{
    atomic_store_explicit((_Atomic int64_t *)record, len, memory_order_release);
}

static PyObject *mistake(void)
{
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "not five plain arguments, or no room: reset() between rounds");
    return NULL;
}

static PyObject *empty(PyObject *self, PyObject *const *args, Py_ssize_t given, PyObject *names)
{
    (void)self, (void)args, (void)given, (void)names;
    Py_RETURN_NONE;
}

#define STAGE(NAME, ...)                                                                                \
    static PyObject *NAME(PyObject *self, PyObject *const *args, Py_ssize_t given, PyObject *names)     \
    {                                                                                                   \
        Fields fields;                                                                                  \
        (void)self;                                                                                     \
        if (names != NULL || !parse(args, given, &fields))                                              \
            return mistake();                                                                           \
        __VA_ARGS__;                                                                                    \
        Py_RETURN_NONE;                                                                                 \
    }

/* Keeps the compiler from leaving out what nobody looks at. */
#define USED(value) __asm__ volatile("" : : "g"(value) : "memory")

STAGE(parsed, USED(&fields))

STAGE(stamped, {
    USED(&fields);
    USED(stamp());
})

/* The length that the whole record would have: header, head, context, numbers, text; a multiple of 8. */
#define LENGTH(fields) (int64_t)((8 + HEAD + CONTEXT + 32 + 2 + (fields).topic_len + 7) & ~(size_t)7)

STAGE(claimed, {
    uint64_t now = stamp();
    char *record = claim(LENGTH(fields));
    USED(&fields);
    USED(now);
    if (record == NULL)
        return mistake();
    commit(record, LENGTH(fields));
})

STAGE(copied, {
    uint64_t head[4] = {stamp(), 31 | (uint64_t)7 << 32, 1, CONTEXT | (uint64_t)(34 + fields.topic_len) << 32};
    uint16_t len = (uint16_t)fields.topic_len;
    char *record = claim(LENGTH(fields));
    if (record == NULL)
        return mistake();
    memcpy(record + 8, head, HEAD);
    memcpy(record + 8 + HEAD, context, context_len);
    char *body = record + 8 + HEAD + context_len;
    memcpy(body, fields.numbers, 32);
    memcpy(body + 32, &len, 2);
    memcpy(body + 34, fields.topic, len);
    commit(record, LENGTH(fields));
})

/* Makes the whole ring free and zero again, and says how many bytes were claimed. */
static PyObject *reset(PyObject *self, PyObject *nothing)
{
    (void)self, (void)nothing;
    uint64_t tail = atomic_load(&positions.tail), head = atomic_load(&positions.head);
    for (uint64_t at = head; at < tail;) {
        uint64_t here = at % RING, some = tail - at < RING - here ? tail - at : RING - here;
        memset(ring + here, 0, some);
        at += some;
    }
    memset(ring + RING, 0, 4096);
    atomic_store(&positions.head, tail);
    return PyLong_FromUnsignedLongLong(tail - head);
}

#define FAST(name) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL | METH_KEYWORDS, NULL}
static PyMethodDef methods[] = {FAST(empty),  FAST(parsed), FAST(stamped),
                                FAST(claimed), FAST(copied), {"reset", reset, METH_NOARGS, NULL},
                                {NULL, NULL, 0, NULL}};
static PyType_Slot slots[] = {{Py_tp_methods, methods}, {0, NULL}};
static PyType_Spec spec = {"stages.Stages", sizeof(PyObject), 0, Py_TPFLAGS_DEFAULT, slots};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "stages_native", NULL, -1, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_stages_native(void)
{
    memset(context, 7, sizeof context);
    context_len = sizeof context;
    /* A record may reach behind the end: the real ring maps its first bytes once more there. */
    ring = mmap(NULL, RING + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ring == MAP_FAILED)
        return PyErr_SetFromErrno(PyExc_OSError);
    memset(ring, 0, RING + 4096);
    PyObject *module = PyModule_Create(&definition);
    PyObject *type = module == NULL ? NULL : PyType_FromSpec(&spec);
    if (type == NULL || PyModule_AddObject(module, "Stages", type) < 0)
        return NULL;
    return module;
}
