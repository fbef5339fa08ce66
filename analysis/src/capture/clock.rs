//! The time stamps of a pcapng interface: their unit and their origin.

use super::Time;

const NANOSECONDS: u64 = 1_000_000_000;

/// How an interface counts time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    unit: Unit,
    /// Added to every time, in seconds.
    origin: i64,
}

/// What a time stamp counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// So many nanoseconds.
    Nanoseconds(u64),
    /// So many of them are a nanosecond.
    OfNanosecond(u64),
    /// 2 to the power of so many of them are a second.
    BinaryOfSecond(u32),
}

impl Clock {
    /// By the options `if_tsresol` and `if_tsoffset`, the latter in seconds.
    pub(super) fn new(resolution: u8, offset: i64) -> Self {
        /// Set for a power of 2, clear for one of 10.
        const BINARY: u8 = 0x80;
        let exponent = u32::from(resolution & !BINARY);
        let unit = if resolution & BINARY != 0 {
            Unit::BinaryOfSecond(exponent)
        } else if let Some(more) = 9_u32.checked_sub(exponent) {
            Unit::Nanoseconds(10_u64.pow(more))
        } else {
            // A unit that is finer than any number of 64 bits: all times are 0.
            Unit::OfNanosecond(10_u64.checked_pow(exponent - 9).unwrap_or(u64::MAX))
        };
        Self {
            unit,
            origin: offset,
        }
    }

    /// The time that a stamp stands for. Times before 1970 and after 2554 become these.
    #[inline]
    pub(super) fn time(&self, stamp: u64) -> Time {
        if let (Unit::Nanoseconds(each), 0) = (self.unit, self.origin)
            && let Some(time) = stamp.checked_mul(each)
        {
            return Time(time);
        }
        self.moved(stamp)
    }

    fn moved(&self, stamp: u64) -> Time {
        let since_origin = match self.unit {
            Unit::Nanoseconds(each) => u128::from(stamp) * u128::from(each),
            Unit::OfNanosecond(parts) => u128::from(stamp / parts),
            Unit::BinaryOfSecond(exponent) => {
                (u128::from(stamp) * u128::from(NANOSECONDS)) >> exponent
            }
        };
        let origin = i128::from(self.origin) * i128::from(NANOSECONDS);
        let time = origin.saturating_add_unsigned(since_origin);
        let clamped = time.clamp(0, i128::from(u64::MAX));
        Time(u64::try_from(clamped).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resolution_gives_nanoseconds() {
        const SECOND: u64 = 1_600_000_000;
        for exponent in 0..=9 {
            let clock = Clock::new(exponent, 0);
            let stamp = SECOND * 10_u64.pow(exponent.into());
            assert_eq!(clock.time(stamp), Time(SECOND * NANOSECONDS), "{exponent}");
        }
        assert_eq!(Clock::new(10, 0).time(25), Time(2));
        assert_eq!(Clock::new(12, 0).time(1_234_567), Time(1_234));
        assert_eq!(Clock::new(127, 0).time(u64::MAX - 1), Time(0));
        for exponent in 0..=30 {
            let clock = Clock::new(0x80 | exponent, 0);
            let stamp = SECOND << exponent;
            assert_eq!(clock.time(stamp), Time(SECOND * NANOSECONDS), "{exponent}");
        }
        assert_eq!(Clock::new(0x81, 0).time(3), Time(1_500_000_000));
        assert_eq!(Clock::new(0xff, 0).time(u64::MAX), Time(0));
    }

    #[test]
    fn an_offset_moves_the_time_and_no_time_is_out_of_range() {
        assert_eq!(Clock::new(6, 3).time(5), Time(3_000_005_000));
        assert_eq!(Clock::new(6, -3).time(4_000_000), Time(1_000_000_000));
        assert_eq!(Clock::new(6, -3).time(5), Time(0));
        assert_eq!(Clock::new(0, 0).time(u64::MAX), Time(u64::MAX));
        assert_eq!(Clock::new(0, i64::MIN).time(u64::MAX), Time(u64::MAX));
        assert_eq!(Clock::new(0x80, i64::MIN).time(0), Time(0));
    }
}
