/*
 * The nvlist functions as nvpair-sys declares them, compared with the installed header's. 2.3 added
 * `const` to many of them, which changes the prototype and not the call: where it did, both are
 * accepted.
 */
#include <libnvpair.h>

#define SAME(function, ...) \
	_Static_assert(_Generic(&function, __VA_ARGS__: 1, default: 0), \
	    #function " has another prototype than nvpair-sys")
/* `prototype` with its argument C empty, and with C as `const`. */
#define CONST(function, prototype) \
	_Static_assert(_Generic(&function, prototype(): 1, default: 0) || \
	    _Generic(&function, prototype(const): 1, default: 0), \
	    #function " has another prototype than nvpair-sys")

_Static_assert(sizeof (nvlist_t) == 24, "nvlist_t");
_Static_assert(sizeof (nvpair_t) == 16, "nvpair_t");
_Static_assert(sizeof (boolean_t) == 4, "boolean_t");
_Static_assert(sizeof (data_type_t) == 4, "data_type_t");

SAME(nvlist_alloc, int (*)(nvlist_t **, uint_t, int));
SAME(nvlist_free, void (*)(nvlist_t *));
SAME(nvlist_size, int (*)(nvlist_t *, size_t *, int));
SAME(nvlist_pack, int (*)(nvlist_t *, char **, size_t *, int, int));
SAME(nvlist_unpack, int (*)(char *, size_t, nvlist_t **, int));
SAME(nvlist_merge, int (*)(nvlist_t *, nvlist_t *, int));
SAME(nvlist_nvflag, uint_t (*)(nvlist_t *));
SAME(nvlist_remove, int (*)(nvlist_t *, const char *, data_type_t));
SAME(nvlist_remove_all, int (*)(nvlist_t *, const char *));
SAME(nvlist_remove_nvpair, int (*)(nvlist_t *, nvpair_t *));
SAME(nvlist_add_nvpair, int (*)(nvlist_t *, nvpair_t *));
SAME(nvlist_lookup_nvpair, int (*)(nvlist_t *, const char *, nvpair_t **));
#define DUP(C) int (*)(C nvlist_t *, nvlist_t **, int)
CONST(nvlist_dup, DUP);
#define EXISTS(C) boolean_t (*)(C nvlist_t *, const char *)
CONST(nvlist_exists, EXISTS);
#define EMPTY(C) boolean_t (*)(C nvlist_t *)
CONST(nvlist_empty, EMPTY);
#define NEXT(C) nvpair_t *(*)(nvlist_t *, C nvpair_t *)
CONST(nvlist_next_nvpair, NEXT);
CONST(nvlist_prev_nvpair, NEXT);
#define NAME(C) C char *(*)(C nvpair_t *)
CONST(nvpair_name, NAME);
#define TYPE(C) data_type_t (*)(C nvpair_t *)
CONST(nvpair_type, TYPE);

#define SCALAR(name, type) \
	SAME(nvlist_add_##name, int (*)(nvlist_t *, const char *, type)); \
	_Static_assert( \
	    _Generic(&nvpair_value_##name, int (*)(nvpair_t *, type *): 1, default: 0) || \
	    _Generic(&nvpair_value_##name, int (*)(const nvpair_t *, type *): 1, default: 0), \
	    "nvpair_value_" #name " has another prototype than nvpair-sys")
#define ARRAY(name, type) \
	_Static_assert(_Generic(&nvlist_add_##name##_array, \
	    int (*)(nvlist_t *, const char *, type *, uint_t): 1, \
	    int (*)(nvlist_t *, const char *, const type *, uint_t): 1, default: 0), \
	    "nvlist_add_" #name "_array has another prototype than nvpair-sys"); \
	SAME(nvpair_value_##name##_array, int (*)(nvpair_t *, type **, uint_t *))
#define BOTH(name, type) SCALAR(name, type); ARRAY(name, type)

BOTH(byte, uchar_t);
BOTH(int8, int8_t);
BOTH(uint8, uint8_t);
BOTH(int16, int16_t);
BOTH(uint16, uint16_t);
BOTH(int32, int32_t);
BOTH(uint32, uint32_t);
BOTH(int64, int64_t);
BOTH(uint64, uint64_t);
SCALAR(boolean_value, boolean_t);
ARRAY(boolean, boolean_t);
SCALAR(hrtime, hrtime_t);
SCALAR(double, double);

SAME(nvlist_add_boolean, int (*)(nvlist_t *, const char *));
SAME(nvlist_add_string, int (*)(nvlist_t *, const char *, const char *));
#define VALUE_STRING(C) int (*)(C nvpair_t *, C char **)
CONST(nvpair_value_string, VALUE_STRING);
#define ADD_STRINGS(C) int (*)(nvlist_t *, const char *, C char *const *, uint_t)
CONST(nvlist_add_string_array, ADD_STRINGS);
#define VALUE_STRINGS(C) int (*)(nvpair_t *, C char ***, uint_t *)
CONST(nvpair_value_string_array, VALUE_STRINGS);
#define ADD_LIST(C) int (*)(nvlist_t *, const char *, C nvlist_t *)
CONST(nvlist_add_nvlist, ADD_LIST);
SAME(nvpair_value_nvlist, int (*)(nvpair_t *, nvlist_t **));
_Static_assert(_Generic(&nvlist_add_nvlist_array,
    int (*)(nvlist_t *, const char *, nvlist_t **, uint_t): 1,
    int (*)(nvlist_t *, const char *, const nvlist_t *const *, uint_t): 1, default: 0),
    "nvlist_add_nvlist_array has another prototype than nvpair-sys");
SAME(nvpair_value_nvlist_array, int (*)(nvpair_t *, nvlist_t ***, uint_t *));

/* The type numbers, which are also those of the packed form. */
#define NUMBER(type, value) _Static_assert(DATA_TYPE_##type == (value), #type)
NUMBER(BOOLEAN, 1);
NUMBER(BYTE, 2);
NUMBER(INT16, 3);
NUMBER(UINT16, 4);
NUMBER(INT32, 5);
NUMBER(UINT32, 6);
NUMBER(INT64, 7);
NUMBER(UINT64, 8);
NUMBER(STRING, 9);
NUMBER(BYTE_ARRAY, 10);
NUMBER(INT16_ARRAY, 11);
NUMBER(UINT16_ARRAY, 12);
NUMBER(INT32_ARRAY, 13);
NUMBER(UINT32_ARRAY, 14);
NUMBER(INT64_ARRAY, 15);
NUMBER(UINT64_ARRAY, 16);
NUMBER(STRING_ARRAY, 17);
NUMBER(HRTIME, 18);
NUMBER(NVLIST, 19);
NUMBER(NVLIST_ARRAY, 20);
NUMBER(BOOLEAN_VALUE, 21);
NUMBER(INT8, 22);
NUMBER(UINT8, 23);
NUMBER(BOOLEAN_ARRAY, 24);
NUMBER(INT8_ARRAY, 25);
NUMBER(UINT8_ARRAY, 26);
NUMBER(DOUBLE, 27);
_Static_assert(NV_UNIQUE_NAME == 1 && NV_UNIQUE_NAME_TYPE == 2, "nvlist flags");
_Static_assert(NV_ENCODE_NATIVE == 0 && NV_ENCODE_XDR == 1, "nvlist encodings");
