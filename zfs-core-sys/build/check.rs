//! placeholder
pub(crate) fn headers(_found: &super::find::Found) -> Result<(), String> {
    Ok(())
}
