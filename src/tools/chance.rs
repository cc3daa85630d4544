//! Numbers by chance, which need to be no better than xorshift makes them: for what is sampled, tried or simulated.

/// See the module's description.
#[derive(Debug)]
pub(super) struct Chance(u64);

impl Chance {
    /// The same seed gives the same numbers.
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Any number.
    pub(super) const fn any(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// One of the numbers below `count`; 0 if there is none.
    pub(super) const fn below(&mut self, count: u64) -> u64 {
        (self.any() >> 11) % if count == 0 { 1 } else { count }
    }

    /// A part of a whole, from 0 up to 1.
    #[allow(clippy::cast_precision_loss, reason = "53 bits are exact")]
    pub(super) const fn part(&mut self) -> f64 {
        (self.any() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
