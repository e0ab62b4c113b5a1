//! Dates of the Gregorian calendar, forwards and backwards.

/// A date and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// Year.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// 0 is Sunday.
    pub weekday: u8,
}

const DAY: i64 = 86_400;
/// Days from 1 March of year 0 to 1 January 1970.
const SHIFT: i64 = 719_468;
/// Days in 400 years.
const ERA: i64 = 146_097;

/// The date of a number of seconds since 1970. Years start in March here, so that the leap day comes last.
pub fn date_of(seconds: i64) -> Date {
    let days = seconds.div_euclid(DAY);
    let time = seconds.rem_euclid(DAY);
    let shifted = days + SHIFT;
    let day_of_era = shifted.rem_euclid(ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let calendar_month = if month < 10 { month + 3 } else { month - 9 };
    Date {
        year: year_of_era + shifted.div_euclid(ERA) * 400 + i64::from(calendar_month <= 2),
        month: small(calendar_month),
        day: small(day_of_year - (153 * month + 2) / 5 + 1),
        hour: small(time / 3600),
        minute: small(time / 60 % 60),
        second: small(time % 60),
        weekday: small((days + 4).rem_euclid(7)),
    }
}

/// The seconds since 1970 of a date; fields out of range count on into the next ones.
pub fn seconds_of(date: &Date) -> i64 {
    let month = i64::from(date.month.clamp(1, 12));
    let year = date.year - i64::from(month <= 2);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * from_march + 2) / 5 + i64::from(date.day) - 1;
    let year_of_era = year.rem_euclid(400);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = year.div_euclid(400) * ERA + day_of_era - SHIFT;
    let minutes = i64::from(date.hour) * 60 + i64::from(date.minute);
    days * DAY + minutes * 60 + i64::from(date.second)
}

fn small(value: i64) -> u8 {
    u8::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_five_centuries_comes_back() {
        for day in -80_000..110_000 {
            let seconds = day * 86_400 + 4321;
            assert_eq!(seconds_of(&date_of(seconds)), seconds);
        }
    }

    #[test]
    fn days_are_counted_from_1970() {
        for (year, month, day, days) in [
            (1970, 1, 1, 0),
            (2000, 3, 1, 11_017),
            (2026, 11, 27, 20_784),
        ] {
            let date = date_of(days * DAY);
            assert_eq!((date.year, date.month, date.day), (year, month, day));
        }
    }
}
