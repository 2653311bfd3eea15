//! The hand-written parts of the interface to `/dev/zfs`. Sizes and offsets are asserted where they
//! are defined, and a program that gets them wrong does not compile.

use std::os::fd::AsRawFd;

use zfs_core_sys::ioctl::{self, REQUESTS, zfs_cmd, zfs_ioctl};

#[test]
fn requests_have_one_name_each_in_order() {
    assert_eq!(REQUESTS.len(), 97);
    assert!(
        REQUESTS
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1)
    );
    for (request, name) in REQUESTS {
        assert_eq!(ioctl::request_name(*request), Some(*name));
    }
    assert_eq!(ioctl::request_name(0x5a84), None);
}

#[test]
fn a_new_command_is_all_zero() {
    let cmd = zfs_cmd::zeroed();
    // SAFETY: the structure has no padding that was not written: `zeroed` writes every byte.
    let bytes =
        unsafe { std::slice::from_raw_parts((&raw const *cmd).cast::<u8>(), size_of::<zfs_cmd>()) };
    assert_eq!(bytes.len(), 13744);
    assert!(bytes.iter().all(|byte| *byte == 0));
}

#[test]
fn a_failed_request_is_an_errno() {
    let mut cmd = zfs_cmd::zeroed();
    // SAFETY: the command is a live structure without addresses; −1 is no descriptor.
    let closed = unsafe { zfs_ioctl(-1, ioctl::ZFS_IOC_POOL_CONFIGS, &mut *cmd) };
    assert_eq!(closed, libc::EBADF);

    let null = std::fs::File::open("/dev/null").unwrap();
    // SAFETY: as above; /dev/null knows no request.
    let other = unsafe { zfs_ioctl(null.as_raw_fd(), ioctl::ZFS_IOC_POOL_CONFIGS, &mut *cmd) };
    assert_eq!(other, libc::ENOTTY);
}
