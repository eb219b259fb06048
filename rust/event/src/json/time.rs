//! Times as RFC 3339 says them, in UTC, with nanoseconds.

const DAY: i64 = 86_400;
const SECOND: i64 = 1_000_000_000;

/// Writes times; what lasts a second is kept.
pub(crate) struct Clock {
    second: i64,
    text: [u8; 20],
    /// The second as a number's digits.
    digits: Vec<u8>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { second: 0, text: render(0), digits: vec![b'0'] }
    }

    #[inline]
    fn at(&mut self, second: i64) {
        if second != self.second {
            self.second = second;
            self.text = render(second);
            self.digits.clear();
            self.digits.extend_from_slice(itoa::Buffer::new().format(second).as_bytes());
        }
    }

    /// Appends `2026-11-23T20:15:00.123456789Z`, with quotes.
    #[inline]
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, time_ns: i64) {
        self.at(time_ns.div_euclid(SECOND));
        let mut text = *b"\"0000-00-00T00:00:00.000000000Z\"";
        text[1..21].copy_from_slice(&self.text);
        text[21..30].copy_from_slice(&nine_digits(time_ns.rem_euclid(SECOND) as u32));
        out.extend_from_slice(&text);
    }

    /// Appends the nanoseconds since the epoch.
    #[inline]
    pub(super) fn write_nanos(&mut self, out: &mut Vec<u8>, time_ns: i64) {
        if time_ns < SECOND {
            out.extend_from_slice(itoa::Buffer::new().format(time_ns).as_bytes());
            return;
        }
        self.at(time_ns / SECOND);
        out.extend_from_slice(&self.digits);
        out.extend_from_slice(&nine_digits((time_ns % SECOND) as u32));
    }
}

/// A number below a thousand million with its leading zeros.
#[inline]
fn nine_digits(mut number: u32) -> [u8; 9] {
    let mut digits = [b'0'; 9];
    for place in digits.iter_mut().rev() {
        *place += (number % 10) as u8;
        number /= 10;
    }
    digits
}

/// `2026-11-23T20:15:00.` of a second since the epoch, years 0 to 9999.
fn render(second: i64) -> [u8; 20] {
    let (days, rest) = (second.div_euclid(DAY), second.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let mut text = *b"0000-00-00T00:00:00.";
    let mut put = |at: usize, width: usize, mut value: i64| {
        for place in (at..at + width).rev() {
            text[place] = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    put(0, 4, year);
    put(5, 2, month);
    put(8, 2, day);
    put(11, 2, rest / 3600);
    put(14, 2, rest / 60 % 60);
    put(17, 2, rest % 60);
    text
}

/// Year, month and day of a day since the epoch, in the Gregorian calendar: years that begin in March put the leap day
/// at their end.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// Nanoseconds since the epoch of what [`Clock::write`] wrote, without quotes. None for anything else.
pub(super) fn parse(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = bytes.get(from..to).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let nanos = number(20, 29)?;
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let time = i128::from(days * DAY + hour * 3600 + minute * 60 + second) * i128::from(SECOND) + i128::from(nanos);
    let time = i64::try_from(time).ok()?;
    let mut again = Vec::new();
    Clock::new().write(&mut again, time);
    (again.get(1..31) == Some(bytes)).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(time_ns: i64) -> String {
        let mut out = Vec::new();
        Clock::new().write(&mut out, time_ns);
        String::from_utf8(out).unwrap().trim_matches('"').to_owned()
    }

    #[test]
    fn known_times_are_written_as_people_know_them() {
        assert_eq!("1970-01-01T00:00:00.000000000Z", text(0));
        assert_eq!("1969-12-31T23:59:59.999999999Z", text(-1));
        assert_eq!("2000-02-29T12:00:00.000000001Z", text(951_825_600 * SECOND + 1));
        assert_eq!("2026-11-23T20:15:00.123456789Z", text(1_795_464_900 * SECOND + 123_456_789));
        assert_eq!("1677-09-21T00:12:43.145224192Z", text(i64::MIN));
        assert_eq!("2262-04-11T23:47:16.854775807Z", text(i64::MAX));
    }

    #[test]
    fn nanoseconds_are_the_number_itself() {
        let mut clock = Clock::new();
        for time in [0, -1, 1, SECOND - 1, SECOND, SECOND + 5, i64::MIN, i64::MAX, 1_795_464_900_000_000_006] {
            let mut out = Vec::new();
            clock.write_nanos(&mut out, time);
            assert_eq!(time.to_string().as_bytes(), out);
        }
    }

    #[test]
    fn what_was_written_is_read_back_and_nothing_else() {
        for time in [0, -1, 1, i64::MIN, i64::MAX, 951_825_600 * SECOND, 1_795_464_900_123_456_789] {
            assert_eq!(Some(time), parse(&text(time)));
        }
        for wrong in ["", "2026-11-23", "2026-02-30T00:00:00.000000000Z", "2026-11-23T20:15:00.123456789+", "\u{e9}"] {
            assert_eq!(None, parse(wrong));
        }
    }
}
