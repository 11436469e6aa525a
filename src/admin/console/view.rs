//! What the console shows: plain values, made by the composition root.

/// The page's content.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct View {
    /// Version of the program.
    pub version: String,
    /// `telemetry.release`.
    pub release: String,
    /// When this was made, UTC.
    pub at: String,
    /// `enforce` or `report`.
    pub policy: &'static str,
    /// Whether it takes traffic.
    pub ready: bool,
    /// Why the store does not answer, where it does not.
    pub store_trouble: Option<&'static str>,
    /// Live sidecars of the fleet, this one included.
    pub members: usize,
    /// Tenants, those in trouble first.
    pub tenants: Vec<Tenant>,
    /// Tenants that are left out of `tenants`.
    pub more_tenants: usize,
    /// What fires.
    pub alerts: Vec<Alert>,
    /// What was refused lately.
    pub refused: Vec<Refused>,
    /// Extra routes in force.
    pub break_glass: Vec<BreakGlass>,
    /// What comes due, the nearest first.
    pub dues: Vec<Due>,
    /// Starts and reloads within the last hour: minutes ago, and the release.
    pub marks: Vec<(u8, String)>,
}

/// A tenant.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Tenant {
    /// Its id.
    pub id: String,
    /// Its app.
    pub app: String,
    /// `na`, `eu` or `fe`.
    pub region: &'static str,
    /// `active`, `quarantined` or `killed`.
    pub state: &'static str,
    /// Why, since when and by whom, where it is not active.
    pub state_note: String,
    /// Seconds that its access token may still be used.
    pub token_left: Option<u64>,
    /// Seconds that it was issued for.
    pub token_life: u64,
    /// `ok`, `degraded` or `failing`.
    pub health: &'static str,
    /// The probable cause, in words.
    pub cause: Option<String>,
    /// What to do, and whose it is.
    pub next_step: Option<String>,
    /// The charge method of its app: its standing, and days left.
    pub charge: (String, Option<i64>),
    /// Days until its authorization ends.
    pub authorization_days: Option<i64>,
    /// The last hour, the oldest minute first.
    pub minutes: Vec<Minute>,
}

/// What happened in a minute.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Minute {
    /// Calls that SP-API answered well.
    pub good: u32,
    /// 401s.
    pub unauthorized: u32,
    /// 403s.
    pub forbidden: u32,
    /// 429s.
    pub throttled: u32,
}

/// An alert that fires.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Alert {
    /// Its word.
    pub alert: String,
    /// What it is about.
    pub subject: String,
    /// Since when, UTC.
    pub since: String,
    /// What a person reads.
    pub detail: String,
    /// The runbook's path.
    pub runbook: String,
}

/// Calls of one kind that were refused.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Refused {
    /// Whose.
    pub tenant: String,
    /// `METHOD /template`, or the host.
    pub call: String,
    /// The error code.
    pub code: &'static str,
    /// How often.
    pub count: u64,
    /// When last, UTC.
    pub last: String,
    /// What would allow it; empty where nothing should.
    pub allow: String,
}

/// Extra routes of one tenant.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BreakGlass {
    /// Its id, to revoke it by.
    pub id: String,
    /// Whose.
    pub tenant: String,
    /// The routes.
    pub allow: Vec<String>,
    /// Until when, UTC.
    pub until: String,
    /// Why.
    pub reason: String,
    /// By whom.
    pub by: String,
}

/// A date.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Due {
    /// What ends.
    pub what: String,
    /// Of whom.
    pub subject: String,
    /// Days from today; negative when it is past.
    pub days_left: i64,
    /// Who mends it.
    pub owner: Option<String>,
}
