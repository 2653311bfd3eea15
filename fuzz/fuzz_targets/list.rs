//! What must hold for every list that can be decoded.

use zfs_core::nv::{self, EncodeError};

pub(crate) fn decode(header: &[u8; 4], body: &[u8]) {
    let bytes = [header.as_slice(), body].concat();
    let (map, length) = match nv::decode_prefix(&bytes) {
        Ok(found) => found,
        Err(error) => {
            assert!(error.offset() <= bytes.len(), "{error}");
            let _ = error.to_string();
            return;
        }
    };
    let own = bytes.get(..length).expect("no longer than the input");
    let (_, again) = nv::decode_prefix(own).expect("a list needs nothing behind it");
    assert_eq!(length, again);

    // Packed lists are compared, for in floating point a value can differ from itself.
    let packed = match nv::encode_native(&map) {
        Ok(packed) => packed,
        // XDR has longer names than the native encoding.
        Err(EncodeError::NameTooLong) => return,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(nv::encoded_len(&map), Ok(packed.len()));
    let (back, length) = nv::decode_prefix(&packed).expect("what was packed can be read");
    assert_eq!(length, packed.len());
    assert_eq!(nv::encode_native(&back).as_ref(), Ok(&packed));
    assert_eq!(format!("{map:?}"), format!("{back:?}"));
}
