//! Record values of an exact length, the same in every run: random bytes, which no codec makes smaller, or text that looks like
//! an order event, which codecs shrink about as much as they shrink real events.

use clap::ValueEnum;

/// What values look like.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Kind {
    /// Order events as JSON text, cut or padded to length.
    Json,
    /// Bytes of a pseudo-random sequence.
    Random,
}

/// A source of values.
pub struct Payload {
    kind: Kind,
    state: u64,
}

impl Payload {
    /// Starts the sequence anew: two runs send the same bytes.
    pub fn new(kind: Kind) -> Self {
        Self { kind, state: 0x9e37_79b9_7f4a_7c15 }
    }

    /// `count` values of `length` bytes.
    pub fn values(&mut self, count: usize, length: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.value(length)).collect()
    }

    /// One value of `length` bytes.
    pub fn value(&mut self, length: usize) -> Vec<u8> {
        let mut value = Vec::with_capacity(length + 256);
        match self.kind {
            Kind::Json => {
                while value.len() < length {
                    value.extend_from_slice(self.event().as_bytes());
                }
            }
            Kind::Random => {
                while value.len() < length {
                    value.extend_from_slice(&self.draw().to_le_bytes());
                }
            }
        }
        value.truncate(length);
        value
    }

    fn event(&mut self) -> String {
        let draw = self.draw();
        let (city, status) = (CITIES.get((draw % 8) as usize), STATES.get((draw >> 8 & 3) as usize));
        format!(
            "{{\"order\":\"o-{:08x}\",\"customer\":\"c-{:06}\",\"city\":\"{}\",\"status\":\"{}\",\"amount\":{}.{:02},\"items\":{},\"at\":17637{:08}}}",
            draw >> 32,
            draw >> 16 & 0xf_ffff,
            city.unwrap_or(&""),
            status.unwrap_or(&""),
            draw % 977,
            draw % 89 + 10,
            draw % 13 + 1,
            self.draw() % 100_000_000,
        )
    }

    fn draw(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

const CITIES: [&str; 8] = ["Praha", "Berlin", "Wien", "Riga", "Meran", "Jungborn", "Spindelmuehle", "Kierling"];
const STATES: [&str; 4] = ["placed", "paid", "shipped", "returned"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_asked_length() {
        for kind in [Kind::Json, Kind::Random] {
            for length in [1, 100, 1024, 10_240] {
                assert_eq!(Payload::new(kind).value(length).len(), length);
            }
        }
    }

    #[test]
    fn only_text_shrinks() {
        let shrunk =
            |kind| zstd::encode_all(Payload::new(kind).value(65_536).as_slice(), 1).map_or(0, |bytes| bytes.len());
        assert!(shrunk(Kind::Json) < 65_536 / 2);
        assert!(shrunk(Kind::Random) >= 65_536);
    }
}
