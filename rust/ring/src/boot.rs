//! Which boot of the machine this is: a ring's content is trusted only during the boot that made it.

/// This boot's id, or zeroes where the system does not tell. Zeroes are equal to nothing: whoever compares must treat
/// them as different.
#[must_use]
pub fn boot_id() -> [u8; 16] {
    text().as_deref().and_then(parse).unwrap_or_default()
}

#[cfg(not(target_os = "macos"))]
fn text() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()
}

#[cfg(target_os = "macos")]
fn text() -> Option<String> {
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
    let text = buffer.get(..length).filter(|_| result == 0)?;
    core::str::from_utf8(text).ok().map(|text| text.trim_end_matches('\0').to_owned())
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
        assert_eq!(boot_id(), boot_id());
        #[cfg(target_os = "linux")]
        assert_ne!(boot_id(), [0; 16]);
    }
}
