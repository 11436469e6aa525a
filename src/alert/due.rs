//! What comes due, as the alerts see it.
//!
//! Job: say how far a reminder has got.
//! Invariants: pure; the last day itself still counts. Whoever knows the dates works them out.
//! Failure mode: none.

use std::time::Duration;

use super::AlertKind;

/// One date that comes due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Due {
    /// Which reminder it is.
    pub kind: AlertKind,
    /// The app's or tenant's id, or `ca`.
    pub subject: String,
    /// The last day on which all is well, as in 2027-01-15.
    pub date: String,
    /// Days until then; negative afterwards.
    pub days_left: i64,
    /// Days before it from which it is worth speaking of at all, whatever the reminders say.
    pub longest_notice: i64,
    /// Who mends it.
    pub owner: Option<String>,
    /// What a person does about it.
    pub remedy: &'static str,
}

impl Due {
    /// 0 before the first reminder, one more for each reminder that is reached, and one more when the day is over.
    #[must_use]
    pub fn stage(&self, reminders: &[Duration]) -> u32 {
        let reached = |reminder: &&Duration| {
            let days = i64::try_from(reminder.as_secs() / 86_400).unwrap_or(i64::MAX);
            self.days_left <= days.min(self.longest_notice)
        };
        let reached = reminders.iter().filter(reached).count();
        u32::try_from(reached).unwrap_or(u32::MAX - 1) + u32::from(self.days_left < 0)
    }

    /// What a person reads.
    #[must_use]
    pub fn detail(&self) -> String {
        let when = match self.days_left {
            days @ ..0 => format!("{} day(s) over", days.unsigned_abs()),
            0 => "today is the last day".to_owned(),
            days => format!("{days} day(s) left"),
        };
        let owner = self
            .owner
            .as_ref()
            .map_or_else(String::new, |owner| format!("; owner {owner}"));
        format!("{when} ({}){owner}; {}", self.date, self.remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reminder_is_a_stage_and_so_is_the_day_after() {
        let reminders = [60, 30, 7].map(|days| Duration::from_secs(days * 86_400));
        for (days_left, want, detail) in [
            (61, 0, "61 day(s) left"),
            (60, 1, "60 day(s) left"),
            (31, 1, "31 day(s) left"),
            (30, 2, "30 day(s) left"),
            (7, 3, "7 day(s) left"),
            (0, 3, "today is the last day"),
            (-1, 4, "1 day(s) over"),
        ] {
            let due = Due {
                kind: AlertKind::ChargeMethodDue,
                subject: "erp".to_owned(),
                date: "2027-03-31".to_owned(),
                days_left,
                longest_notice: i64::MAX,
                owner: Some("finance@example.com".to_owned()),
                remedy: "renew it",
            };
            assert_eq!(due.stage(&reminders), want, "{days_left}");
            assert_eq!(
                due.detail(),
                format!("{detail} (2027-03-31); owner finance@example.com; renew it")
            );
            assert_eq!(due.stage(&[]), u32::from(days_left < 0));
            let short = Due {
                longest_notice: 7,
                ..due
            };
            assert_eq!(short.stage(&reminders) > 0, days_left <= 7, "{days_left}");
        }
    }
}
