//! The version of LLVM that wrote a piece of bitcode, from the bitcode itself.
//!
//! Bitcode begins with an identification block whose string is `LLVM` and the version. It lies at no byte's
//! boundary: each character takes six bits (LLVM's char6), or seven or eight where one of them is not of
//! char6's 64. See "LLVM Bitcode File Format", sections "char6" and "IDENTIFICATION_BLOCK".

/// How far from the start the block's string is looked for, in bits.
const NEAR_BITS: usize = 1024;

/// Bits of a character, and which character they are.
type Alphabet = (usize, fn(u8) -> Option<char>);

/// The text behind `LLVM` in the identification, such as `22.1.8`; `None` when there is none.
pub(crate) fn writer(bitcode: &[u8]) -> Option<String> {
    if !bitcode.starts_with(b"BC\xC0\xDE") {
        return None;
    }
    let end = NEAR_BITS.min(bitcode.len() * 8);
    let alphabets: [Alphabet; 3] = [(6, char6), (7, ascii), (8, ascii)];
    (0..end).find_map(|start| {
        alphabets.iter().find_map(|&(width, alphabet)| {
            let mut text = (start..)
                .step_by(width)
                .map_while(|at| alphabet(bits(bitcode, at, width)?));
            "LLVM".chars().all(|c| text.next() == Some(c)).then(|| {
                text.take_while(|c| c.is_ascii_digit() || *c == '.')
                    .collect()
            })
        })
    })
}

/// `width` bits from bit `at` on; bitcode counts bits from the lowest.
fn bits(bytes: &[u8], at: usize, width: usize) -> Option<u8> {
    let low = *bytes.get(at / 8)?;
    let high = bytes.get(at / 8 + 1).copied().unwrap_or(0);
    let value = u16::from_le_bytes([low, high]) >> (at % 8);
    let [value, _] = (value & ((1 << width) - 1)).to_le_bytes();
    Some(value)
}

fn char6(code: u8) -> Option<char> {
    const ALPHABET: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._";
    ALPHABET.get(usize::from(code)).copied().map(char::from)
}

fn ascii(code: u8) -> Option<char> {
    code.is_ascii_graphic().then_some(char::from(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What LLVM 22.1.8 writes at the start of a module.
    const LLVM_22: [u8; 32] = [
        0x42, 0x43, 0xC0, 0xDE, 0x35, 0x14, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x62, 0x0C, 0x30,
        0x24, 0x4A, 0x59, 0xBE, 0xA6, 0x6D, 0xFB, 0xB5, 0xCF, 0x0B, 0x51, 0x80, 0x4C, 0x01, 0x00,
        0x00, 0x00,
    ];

    #[test]
    fn the_writer_of_bitcode_is_read_from_its_identification() {
        assert!(writer(&LLVM_22).is_some_and(|text| text.starts_with("22.1.8")));
    }

    #[test]
    fn plain_bytes_are_read_too() {
        let mut module = b"BC\xC0\xDE\x35\x14\0\0".to_vec();
        module.extend_from_slice(b"LLVM23.1.0-rust-nightly");
        assert_eq!(writer(&module).as_deref(), Some("23.1.0"));
    }

    #[test]
    fn what_is_no_bitcode_or_unsigned_has_no_writer() {
        assert_eq!(writer(b"\x7fELF LLVM22.1.8"), None);
        assert_eq!(writer(b"BC\xC0\xDE and nothing else"), None);
        assert_eq!(writer(b"BC\xC0\xDE"), None);
    }
}
