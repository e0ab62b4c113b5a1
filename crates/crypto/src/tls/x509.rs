//! What a certificate says of itself (RFC 5280), as far as it is shown to people or compared with rules. Whether to
//! believe it is somebody else's question.

use qapi::calendar::{Date, seconds_of};

/// Ends every look at bytes that are not what they should be.
type Read<T> = Option<T>;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const BOOLEAN: u8 = 0x01;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BMP_STRING: u8 = 0x1e;
const EXTENSIONS: u8 = 0xa3;
const VERSION: u8 = 0xa0;

/// 2.5.4.x, 2.5.29.x
const ATTRIBUTE: &[u8] = &[0x55, 0x04];
const EXTENSION: &[u8] = &[0x55, 0x1d];
/// 0.9.2342.19200300.100.1.x
const PILOT: &[u8] = &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01];
/// 1.2.840.113549.1.9.1
const EMAIL: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01];
/// 1.3.6.1.5.5.7.3.x
const PURPOSE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03];
/// 2.5.29.37.0
const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];

/// Bits of key usage, the first one highest.
pub(super) const DIGITAL_SIGNATURE: u8 = 0x80;
/// Keys may be wrapped with it.
pub(super) const KEY_ENCIPHERMENT: u8 = 0x20;
/// Certificates may be signed with it.
pub(super) const CERT_SIGN: u8 = 0x04;

/// What a certificate may be used for, if it says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Purposes {
    pub(super) server: bool,
    pub(super) client: bool,
}

/// A certificate's own words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Seconds since 1970.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    /// The subject, its last part first: `CN=host,O=Org`.
    pub(super) subject: String,
    pub(super) common_name: Option<String>,
    /// It has alternative names.
    pub(super) alternative_names: bool,
    /// Basic constraints, if there are any.
    pub(super) authority: Option<bool>,
    pub(super) key_usage: Option<u8>,
    pub(super) purposes: Option<Purposes>,
}

impl Facts {
    /// Reads a certificate in DER.
    pub(super) fn read(der: &[u8]) -> Read<Self> {
        let mut input = der;
        let mut certificate = take(&mut input, SEQUENCE)?;
        let mut fields = take(&mut certificate, SEQUENCE)?;
        if fields.first() == Some(&VERSION) {
            any(&mut fields)?;
        }
        any(&mut fields)?; // serial number
        take(&mut fields, SEQUENCE)?; // signature algorithm
        take(&mut fields, SEQUENCE)?; // issuer
        let mut validity = take(&mut fields, SEQUENCE)?;
        let subject = take(&mut fields, SEQUENCE)?;
        let mut facts = Self {
            not_before: time(&mut validity)?,
            not_after: time(&mut validity)?,
            ..Self::default()
        };
        facts.take_subject(subject)?;
        take(&mut fields, SEQUENCE)?; // public key
        while !fields.is_empty() {
            let (tag, mut content) = any(&mut fields)?;
            if tag == EXTENSIONS {
                let mut all = take(&mut content, SEQUENCE)?;
                while !all.is_empty() {
                    facts.take_extension(take(&mut all, SEQUENCE)?)?;
                }
            }
        }
        Some(facts)
    }

    fn take_subject(&mut self, mut subject: &[u8]) -> Read<()> {
        let mut parts = Vec::new();
        while !subject.is_empty() {
            let mut set = take(&mut subject, SET)?;
            let mut together = Vec::new();
            while !set.is_empty() {
                let mut pair = take(&mut set, SEQUENCE)?;
                let kind = take(&mut pair, OID)?;
                let (tag, value) = any(&mut pair)?;
                let name = attribute(kind);
                let value = text(tag, value);
                if name == "CN" {
                    self.common_name = Some(value.clone());
                }
                together.push(format!("{name}={}", escape(&value)));
            }
            parts.push(together.join("+"));
        }
        parts.reverse();
        self.subject = parts.join(",");
        Some(())
    }

    fn take_extension(&mut self, mut extension: &[u8]) -> Read<()> {
        let kind = take(&mut extension, OID)?;
        if extension.first() == Some(&BOOLEAN) {
            any(&mut extension)?; // critical
        }
        let mut value = take(&mut extension, OCTET_STRING)?;
        match kind.strip_prefix(EXTENSION) {
            Some([17]) => self.alternative_names = true,
            Some([19]) => {
                let mut constraints = take(&mut value, SEQUENCE)?;
                let authority = constraints.first() == Some(&BOOLEAN)
                    && take(&mut constraints, BOOLEAN)?.first() == Some(&0xff);
                self.authority = Some(authority);
            }
            Some([15]) => {
                let bits = take(&mut value, BIT_STRING)?;
                self.key_usage = Some(bits.get(1).copied().unwrap_or(0));
            }
            Some([37]) => {
                let mut all = take(&mut value, SEQUENCE)?;
                let mut purposes = Purposes::default();
                while !all.is_empty() {
                    let purpose = take(&mut all, OID)?;
                    let any = purpose == ANY_PURPOSE;
                    let number = purpose.strip_prefix(PURPOSE);
                    purposes.server |= any || number == Some(&[1]);
                    purposes.client |= any || number == Some(&[2]);
                }
                self.purposes = Some(purposes);
            }
            _ => {}
        }
        Some(())
    }
}

/// The next element: its tag and content.
fn any<'a>(input: &mut &'a [u8]) -> Read<(u8, &'a [u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let len = if first < 0x80 {
        usize::from(first)
    } else {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 {
            return None;
        }
        let (bytes, after) = rest.split_at_checked(count)?;
        rest = after;
        let len = bytes.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b));
        usize::try_from(len).ok()?
    };
    let (content, rest) = rest.split_at_checked(len)?;
    *input = rest;
    Some((tag, content))
}

fn take<'a>(input: &mut &'a [u8], wanted: u8) -> Read<&'a [u8]> {
    let (tag, content) = any(input)?;
    (tag == wanted).then_some(content)
}

fn time(input: &mut &[u8]) -> Read<i64> {
    let (tag, content) = any(input)?;
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let text = match tag {
        // Two digits stand for 1950 to 2049.
        UTC_TIME if text.get(..2)? >= "50" => format!("19{text}"),
        UTC_TIME => format!("20{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    if text.len() != 14 {
        return None;
    }
    let part = |from: usize, len: usize| text.get(from..from + len)?.parse::<u8>().ok();
    let date = Date {
        year: i64::from(text.get(..4)?.parse::<u32>().ok()?),
        month: part(4, 2)?,
        day: part(6, 2)?,
        hour: part(8, 2)?,
        minute: part(10, 2)?,
        second: part(12, 2)?,
        weekday: 0,
    };
    let is_date = (1..=12).contains(&date.month) && (1..=31).contains(&date.day);
    is_date.then(|| seconds_of(&date))
}

fn attribute(oid: &[u8]) -> String {
    let known = match (oid.strip_prefix(ATTRIBUTE), oid.strip_prefix(PILOT)) {
        (Some([3]), _) => "CN",
        (Some([4]), _) => "surName",
        (Some([5]), _) => "serialNumber",
        (Some([6]), _) => "C",
        (Some([7]), _) => "L",
        (Some([8]), _) => "ST",
        (Some([9]), _) => "street",
        (Some([10]), _) => "O",
        (Some([11]), _) => "OU",
        (Some([12]), _) => "title",
        (Some([42]), _) => "givenName",
        (_, Some([1])) => "UID",
        (_, Some([25])) => "DC",
        _ if oid == EMAIL => "EMAIL",
        _ => return dotted(oid),
    };
    known.to_owned()
}

fn dotted(oid: &[u8]) -> String {
    let mut numbers = Vec::new();
    let mut number = 0_u64;
    for byte in oid {
        number = (number << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.push(first.to_string());
                number -= first * 40;
            }
            numbers.push(number.to_string());
            number = 0;
        }
    }
    numbers.join(".")
}

fn text(tag: u8, value: &[u8]) -> String {
    if tag == BMP_STRING {
        let units = value
            .chunks_exact(2)
            .map(|p| u16::from_be_bytes([p[0], p[1]]));
        return char::decode_utf16(units)
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
    }
    String::from_utf8_lossy(value).into_owned()
}

/// RFC 4514, 2.4
fn escape(value: &str) -> String {
    let mut out = String::new();
    let last = value.chars().count().saturating_sub(1);
    for (at, char) in value.chars().enumerate() {
        let special = ",+\"\\<>;".contains(char)
            || (at == 0 && (char == '#' || char == ' '))
            || (at == last && char == ' ');
        if special {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_forms() {
        let mut utc = &b"\x17\x0d700101000001Z"[..];
        assert_eq!(time(&mut utc), Some(1));
        let mut long = &b"\x18\x0f20491231235959Z"[..];
        assert_eq!(time(&mut long), Some(2_524_607_999));
        let mut wrong = &b"\x17\x0d701301000001Z"[..];
        assert_eq!(time(&mut wrong), None);
    }

    #[test]
    fn names_are_escaped_and_oids_dotted() {
        assert_eq!(escape("a,b "), "a\\,b\\ ");
        assert_eq!(dotted(&[0x2a, 0x86, 0x48]), "1.2.840");
    }

    #[test]
    fn cut_certificates_are_refused() {
        for len in [0, 1, 2, 5] {
            assert_eq!(Facts::read(&[0x30, 0x82, 1, 0, 0x30][..len]), None);
        }
        assert_eq!(Facts::read(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
