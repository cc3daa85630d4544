//! The common name in a certificate, which auth servers are told.
//!
//! A certificate is DER: values of a tag, a length and a content, one inside the other. Only the way to the subject's name is
//! read; whether the certificate is any good was judged elsewhere.

const INTEGER: u8 = 0x02;
const OBJECT: u8 = 0x06;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const TELETEX: u8 = 0x14;
const IA5: u8 = 0x16;
const BMP: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// The version, which old certificates lack.
const VERSION: u8 = 0xa0;

/// 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Values one behind the other.
struct Der<'a> {
    rest: &'a [u8],
}

impl<'a> Der<'a> {
    /// The next value's tag and content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.rest.split_first_chunk()?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            // A certificate is shorter than 2^32 bytes.
            let count = usize::from(first & 0x7f);
            let (digits, rest) = rest.split_at_checked(count)?;
            if count == 0 || count > 4 {
                return None;
            }
            let length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
            (length, rest)
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some((tag, content))
    }

    /// The next value's content, which is to be of this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

/// The subject's common name, the last one if there are several, as Go has it; `None` if there is none.
pub(super) fn common_name(certificate: &[u8]) -> Option<String> {
    let certificate = Der { rest: certificate }.expect(SEQUENCE)?;
    let mut fields = Der { rest: Der { rest: certificate }.expect(SEQUENCE)? };
    let (first, _) = fields.next()?;
    if first == VERSION {
        fields.expect(INTEGER)?;
    }
    // The signature's algorithm, the issuer, the validity.
    for _ in 0..3 {
        fields.expect(SEQUENCE)?;
    }
    let mut parts = Der { rest: fields.expect(SEQUENCE)? };
    let mut found = None;
    while let Some(part) = parts.expect(SET) {
        let mut attributes = Der { rest: part };
        while let Some(attribute) = attributes.expect(SEQUENCE) {
            let mut attribute = Der { rest: attribute };
            if attribute.expect(OBJECT)? == COMMON_NAME {
                let (tag, bytes) = attribute.next()?;
                found = text(tag, bytes).or(found);
            }
        }
    }
    found
}

fn text(tag: u8, bytes: &[u8]) -> Option<String> {
    match tag {
        UTF8 | PRINTABLE | IA5 => String::from_utf8(bytes.to_vec()).ok(),
        TELETEX => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        BMP => {
            let units = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_be_bytes(*unit));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    use super::*;

    fn certificate(name: DistinguishedName) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name = name;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_common_name_is_found_among_others() {
        let mut name = DistinguishedName::new();
        name.push(DnType::OrganizationName, "Örg");
        assert_eq!(common_name(&certificate(name.clone())), None);
        name.push(DnType::CommonName, "client-ü");
        name.push(DnType::CountryName, "DE");
        assert_eq!(common_name(&certificate(name.clone())).as_deref(), Some("client-ü"));
        let printable = "plain".try_into().unwrap();
        name.push(DnType::CommonName, DnValue::PrintableString(printable));
        assert_eq!(common_name(&certificate(name)).as_deref(), Some("plain"));
        assert_eq!(text(BMP, b"\0a\x20\xac").as_deref(), Some("a€"));
        assert_eq!(text(TELETEX, b"\xe4").as_deref(), Some("ä"));
    }

    proptest! {
        #[test]
        fn a_damaged_certificate_does_no_harm(at in 0_usize..400, byte in any::<u8>(), cut in 0_usize..400) {
            let mut name = DistinguishedName::new();
            name.push(DnType::CommonName, "c");
            let mut der = certificate(name);
            if let Some(place) = der.get_mut(at) {
                *place = byte;
            }
            drop(common_name(&der));
            der.truncate(cut);
            drop(common_name(&der));
        }
    }
}
