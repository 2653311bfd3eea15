/* What bindgen reads. */
#include <libzfs_core.h>
#include <sys/dsl_crypt.h>
