/*
 * The prototypes that the bindings were made for, compared with the installed header's. A function
 * that changed is an error here, at build time, rather than a call with the wrong arguments.
 *
 * tests/abi.rs checks that every bound function has its line.
 */
#include <libzfs_core.h>

#define SAME(function, ...) \
	_Static_assert(_Generic(&function, __VA_ARGS__: 1, default: 0), \
	    #function " has another prototype than the bindings")

typedef struct dmu_replay_record record_t;

SAME(libzfs_core_init, int (*)(void));
SAME(libzfs_core_fini, void (*)(void));

SAME(lzc_snapshot, int (*)(nvlist_t *, nvlist_t *, nvlist_t **));
SAME(lzc_create, int (*)(const char *, enum lzc_dataset_type, nvlist_t *, uint8_t *, uint_t));
SAME(lzc_clone, int (*)(const char *, const char *, nvlist_t *));
SAME(lzc_promote, int (*)(const char *, char *, int));
SAME(lzc_rename, int (*)(const char *, const char *));
SAME(lzc_destroy, int (*)(const char *));
SAME(lzc_destroy_snaps, int (*)(nvlist_t *, boolean_t, nvlist_t **));
SAME(lzc_exists, boolean_t (*)(const char *));
SAME(lzc_rollback, int (*)(const char *, char *, int));
SAME(lzc_rollback_to, int (*)(const char *, const char *));
SAME(lzc_snaprange_space, int (*)(const char *, const char *, uint64_t *));

SAME(lzc_bookmark, int (*)(nvlist_t *, nvlist_t **));
SAME(lzc_get_bookmarks, int (*)(const char *, nvlist_t *, nvlist_t **));
SAME(lzc_get_bookmark_props, int (*)(const char *, nvlist_t **));
SAME(lzc_destroy_bookmarks, int (*)(nvlist_t *, nvlist_t **));

SAME(lzc_hold, int (*)(nvlist_t *, int, nvlist_t **));
SAME(lzc_release, int (*)(nvlist_t *, nvlist_t **));
SAME(lzc_get_holds, int (*)(const char *, nvlist_t **));

SAME(lzc_load_key, int (*)(const char *, boolean_t, uint8_t *, uint_t));
SAME(lzc_unload_key, int (*)(const char *));
SAME(lzc_change_key, int (*)(const char *, uint64_t, nvlist_t *, uint8_t *, uint_t));

SAME(lzc_send, int (*)(const char *, const char *, int, enum lzc_send_flags));
SAME(lzc_send_resume, int (*)(const char *, const char *, int, enum lzc_send_flags, uint64_t,
    uint64_t));
SAME(lzc_send_redacted, int (*)(const char *, const char *, int, enum lzc_send_flags,
    const char *));
SAME(lzc_send_resume_redacted, int (*)(const char *, const char *, int, enum lzc_send_flags,
    uint64_t, uint64_t, const char *));
SAME(lzc_send_space, int (*)(const char *, const char *, enum lzc_send_flags, uint64_t *));
SAME(lzc_send_space_resume_redacted, int (*)(const char *, const char *, enum lzc_send_flags,
    uint64_t, uint64_t, uint64_t, const char *, int, uint64_t *));
SAME(lzc_redact, int (*)(const char *, const char *, nvlist_t *));

SAME(lzc_receive, int (*)(const char *, nvlist_t *, const char *, boolean_t, boolean_t, int));
SAME(lzc_receive_resumable, int (*)(const char *, nvlist_t *, const char *, boolean_t, boolean_t,
    int));
SAME(lzc_receive_with_header, int (*)(const char *, nvlist_t *, const char *, boolean_t,
    boolean_t, boolean_t, int, const record_t *));
SAME(lzc_receive_one, int (*)(const char *, nvlist_t *, const char *, boolean_t, boolean_t,
    boolean_t, int, const record_t *, int, uint64_t *, uint64_t *, uint64_t *, nvlist_t **));
SAME(lzc_receive_with_cmdprops, int (*)(const char *, nvlist_t *, nvlist_t *, uint8_t *, uint_t,
    const char *, boolean_t, boolean_t, boolean_t, int, const record_t *, int, uint64_t *,
    uint64_t *, uint64_t *, nvlist_t **));

SAME(lzc_channel_program, int (*)(const char *, const char *, uint64_t, uint64_t, nvlist_t *,
    nvlist_t **));
SAME(lzc_channel_program_nosync, int (*)(const char *, const char *, uint64_t, uint64_t,
    nvlist_t *, nvlist_t **));

SAME(lzc_sync, int (*)(const char *, nvlist_t *, nvlist_t **));
SAME(lzc_reopen, int (*)(const char *, boolean_t));
SAME(lzc_initialize, int (*)(const char *, pool_initialize_func_t, nvlist_t *, nvlist_t **));
SAME(lzc_trim, int (*)(const char *, pool_trim_func_t, uint64_t, boolean_t, nvlist_t *,
    nvlist_t **));
SAME(lzc_pool_checkpoint, int (*)(const char *));
SAME(lzc_pool_checkpoint_discard, int (*)(const char *));
SAME(lzc_wait, int (*)(const char *, zpool_wait_activity_t, boolean_t *));
SAME(lzc_wait_tag, int (*)(const char *, zpool_wait_activity_t, uint64_t, boolean_t *));
SAME(lzc_wait_fs, int (*)(const char *, zfs_wait_activity_t, boolean_t *));
SAME(lzc_set_bootenv, int (*)(const char *, const nvlist_t *));
SAME(lzc_get_bootenv, int (*)(const char *, nvlist_t **));

/*
 * The newer functions, which are looked up at run time. A function cannot be tested for by the
 * preprocessor, so a macro that came with it stands for its version.
 */
#ifdef ZPOOL_VDEV_PROPS_GET_VDEV	/* 2.2 */
SAME(lzc_ioctl_fd, int (*)(int, unsigned long, struct zfs_cmd *));
SAME(lzc_send_wrapper, int (*)(int (*)(int, void *), int, void *));
SAME(lzc_receive_with_heal, int (*)(const char *, nvlist_t *, nvlist_t *, uint8_t *, uint_t,
    const char *, boolean_t, boolean_t, boolean_t, boolean_t, int, const record_t *, int,
    uint64_t *, uint64_t *, uint64_t *, nvlist_t **));
SAME(lzc_scrub, int (*)(zfs_ioc_t, const char *, nvlist_t *, nvlist_t **));
SAME(lzc_get_vdev_prop, int (*)(const char *, nvlist_t *, nvlist_t **));
SAME(lzc_set_vdev_prop, int (*)(const char *, nvlist_t *, nvlist_t **));
#endif
#ifdef ZPOOL_PREFETCH_TYPE		/* 2.3 */
SAME(lzc_get_props, int (*)(const char *, nvlist_t **));
SAME(lzc_pool_prefetch, int (*)(const char *, zpool_prefetch_type_t));
SAME(lzc_ddt_prune, int (*)(const char *, zpool_ddt_prune_unit_t, uint64_t));
#endif

/* The bindings pass these by value as 32-bit integers. */
#define WORD(type) _Static_assert(sizeof (type) == 4, #type " is not 32 bits")
WORD(boolean_t);
WORD(uint_t);
WORD(enum lzc_dataset_type);
WORD(enum lzc_send_flags);
WORD(pool_initialize_func_t);
WORD(pool_trim_func_t);
WORD(zpool_wait_activity_t);
WORD(zfs_wait_activity_t);
WORD(zfs_ioc_t);
#ifdef ZPOOL_PREFETCH_TYPE
WORD(zpool_prefetch_type_t);
WORD(zpool_ddt_prune_unit_t);
#endif
