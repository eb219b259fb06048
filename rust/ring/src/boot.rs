//! Which boot of the machine this is: a ring's content is trusted only during the boot that made it.

use std::io;
use std::sync::OnceLock;

/// This boot's id, or zeroes where the system has none to tell. Zeroes are equal to nothing: whoever compares must treat
/// them as different. A machine does not boot under a process, so it is asked for once.
///
/// # Errors
/// The system has one and could not tell it now. That is no reason to take a ring for another boot's.
pub fn boot_id() -> io::Result<[u8; 16]> {
    static KNOWN: OnceLock<[u8; 16]> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(*known);
    }
    let id = text()?.as_deref().and_then(parse).unwrap_or_default();
    Ok(*KNOWN.get_or_init(|| id))
}

#[cfg(not(target_os = "macos"))]
fn text() -> io::Result<Option<String>> {
    match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(target_os = "macos")]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it is a file, which may be refused")]
fn text() -> io::Result<Option<String>> {
    let mut buffer = [0_u8; 64];
    let mut length = buffer.len();
    // SAFETY: a name that ends in NUL, a buffer and its length; nothing is set.
    let result = unsafe {
        libc::sysctlbyname(
            c"kern.bootsessionuuid".as_ptr(),
            buffer.as_mut_ptr().cast(),
            &raw mut length,
            core::ptr::null_mut(),
            0,
        )
    };
    let text = buffer.get(..length).filter(|_| result == 0).and_then(|text| core::str::from_utf8(text).ok());
    Ok(text.map(|text| text.trim_end_matches('\0').to_owned()))
}

/// The 16 bytes of a UUID's text.
fn parse(text: &str) -> Option<[u8; 16]> {
    let mut digits = text.trim().bytes().filter(|&byte| byte != b'-').map(|byte| char::from(byte).to_digit(16));
    let mut id = [0; 16];
    for byte in &mut id {
        *byte = (digits.next()?? << 4 | digits.next()??) as u8;
    }
    digits.next().is_none().then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_read_as_its_bytes() {
        let id = parse("00112233-4455-6677-8899-aabbccddeeff\n");
        assert_eq!(
            id,
            Some([0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff])
        );
    }

    #[test]
    fn what_is_no_uuid_is_not_guessed_at() {
        for text in ["", "0011", "00112233-4455-6677-8899-aabbccddeeff00", "zz112233-4455-6677-8899-aabbccddeeff"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn this_boot_has_one_id() {
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
        #[cfg(target_os = "linux")]
        assert_ne!(boot_id().unwrap(), [0; 16]);
    }
}
