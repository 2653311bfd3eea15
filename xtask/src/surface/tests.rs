//! The test on real ZFS that covers each function best.

pub(super) const COVERED: &[(&str, &str)] = &[
    (
        "libzfs_core_init",
        "privilege::a_device_that_may_not_be_opened",
    ),
    ("lzc_bookmark", "snapshot::bookmarks"),
    ("lzc_change_key", "key::change_and_inherit"),
    (
        "lzc_channel_program",
        "program::a_program_changes_many_datasets_at_once",
    ),
    (
        "lzc_channel_program_nosync",
        "program::arguments_and_results_pass_by_serde",
    ),
    ("lzc_clone", "dataset::clone_and_promote"),
    ("lzc_create", "dataset::create_filesystem_with_properties"),
    (
        "lzc_ddt_prune",
        "surface::tables_are_loaded_and_made_smaller",
    ),
    ("lzc_destroy", "dataset::destroy"),
    ("lzc_destroy_bookmarks", "snapshot::bookmarks"),
    (
        "lzc_destroy_snaps",
        "snapshot::destroy_held_cloned_and_deferred",
    ),
    ("lzc_exists", "dataset::rename"),
    ("lzc_get_bookmark_props", "snapshot::bookmarks"),
    ("lzc_get_bookmarks", "snapshot::bookmarks"),
    ("lzc_get_bootenv", "surface::a_boot_environment_is_kept"),
    ("lzc_get_holds", "hold::hold_and_release"),
    (
        "lzc_get_props",
        "pool::properties::properties_are_as_zpool_shows_them",
    ),
    (
        "lzc_get_vdev_prop",
        "surface::vdevs::properties_of_vdevs_are_read_and_set",
    ),
    ("lzc_hold", "hold::hold_and_release"),
    (
        "lzc_initialize",
        "activity::targets::an_initialisation_from_its_start_to_its_end",
    ),
    ("lzc_load_key", "key::wrong_keys_and_wrong_times"),
    (
        "lzc_pool_checkpoint",
        "activity::checkpoint::a_checkpoint_is_taken_and_discarded",
    ),
    (
        "lzc_pool_checkpoint_discard",
        "activity::checkpoint::a_checkpoint_is_taken_and_discarded",
    ),
    (
        "lzc_pool_prefetch",
        "surface::tables_are_loaded_and_made_smaller",
    ),
    ("lzc_promote", "dataset::clone_and_promote"),
    (
        "lzc_receive",
        "receive::full_and_incremental_with_every_flag",
    ),
    (
        "lzc_receive_one",
        "receive::full_and_incremental_with_every_flag",
    ),
    (
        "lzc_receive_resumable",
        "receive::partial::interrupted_and_resumed",
    ),
    (
        "lzc_receive_with_cmdprops",
        "receive::properties::set_excluded_and_received",
    ),
    ("lzc_receive_with_heal", "receive::healing"),
    (
        "lzc_receive_with_header",
        "receive::full_and_incremental_with_every_flag",
    ),
    (
        "lzc_redact",
        "redact::what_a_clone_has_overwritten_is_not_sent",
    ),
    ("lzc_release", "hold::hold_and_release"),
    ("lzc_rename", "dataset::rename"),
    (
        "lzc_reopen",
        "surface::devices_are_opened_again_and_identities_changed",
    ),
    ("lzc_rollback", "dataset::rollback_restores_the_bytes"),
    ("lzc_rollback_to", "dataset::rollback_past_newer_snapshots"),
    (
        "lzc_scrub",
        "activity::scrub::a_scrub_from_its_start_to_its_end",
    ),
    ("lzc_send", "send::every_kind_is_what_the_command_sends"),
    ("lzc_send_redacted", "send::redacted"),
    (
        "lzc_send_resume",
        "send::resume::a_token_goes_there_and_back",
    ),
    (
        "lzc_send_resume_redacted",
        "send::resume::a_redacted_stream_is_resumed_as_such",
    ),
    ("lzc_send_space", "send::progress_goes_up_to_the_length"),
    (
        "lzc_send_space_resume_redacted",
        "send::resume::a_redacted_stream_is_resumed_as_such",
    ),
    ("lzc_send_wrapper", "send::direct::every_kind_of_descriptor"),
    ("lzc_set_bootenv", "surface::a_boot_environment_is_kept"),
    (
        "lzc_set_vdev_prop",
        "surface::vdevs::properties_of_vdevs_are_read_and_set",
    ),
    ("lzc_snapshot", "snapshot::a_batch_is_one_transaction"),
    ("lzc_snaprange_space", "snapshot::space_of_a_range"),
    ("lzc_sync", "pool::a_forced_sync_writes_to_every_device"),
    (
        "lzc_trim",
        "activity::targets::a_trim_from_its_start_to_its_end",
    ),
    ("lzc_unload_key", "key::data_is_unreachable_without_its_key"),
    ("lzc_wait", "activity::wait::an_export_is_no_end"),
    ("lzc_wait_fs", "activity::wait::deleted_files"),
    (
        "lzc_wait_tag",
        "activity::targets::a_trim_from_its_start_to_its_end",
    ),
];
