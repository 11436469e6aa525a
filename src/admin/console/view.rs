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
    /// How many tenants are failing, degraded and well.
    pub counts: (usize, usize, usize),
    /// What is wrong, the worst first: a wave is one line, however many tenants it hits.
    pub troubles: Vec<Trouble>,
    /// Tenants, those in trouble first.
    pub tenants: Vec<Tenant>,
    /// Tenants that are left out of `tenants`.
    pub more_tenants: usize,
    /// What fires, those of a kind together.
    pub alerts: Vec<Alert>,
    /// What was refused lately.
    pub refused: Vec<Refused>,
    /// Extra routes in force.
    pub break_glass: Vec<BreakGlass>,
    /// What comes due, the nearest first.
    pub dues: Vec<Due>,
    /// Starts and reloads within the last hour, the oldest first.
    pub marks: Vec<Mark>,
}

/// A start or a reload.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mark {
    /// Minutes since, below 60.
    pub ago: u8,
    /// `start` or `reload`.
    pub what: &'static str,
    /// The release that it was of.
    pub release: String,
}

/// One cause, and whom it hits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trouble {
    /// `degraded` or `failing`.
    pub health: &'static str,
    /// What it is, in the word of answers.
    pub cause: &'static str,
    /// Whose the next step is.
    pub whose: String,
    /// Some of the tenants.
    pub tenants: Vec<String>,
    /// How many more there are.
    pub more: usize,
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
    /// Since when, by whom and why, where it is not active.
    pub set_aside: Option<SetAside>,
    /// Whether it waits for a preflight.
    pub waits: bool,
    /// Seconds that its access token may still be used.
    pub token_left: Option<u64>,
    /// Seconds that it was issued for.
    pub token_life: u64,
    /// `ok`, `degraded` or `failing`.
    pub health: &'static str,
    /// What is probably wrong, where anything is.
    pub probable: Option<Probable>,
    /// The charge method of its app: its standing, and days left.
    pub charge: (String, Option<i64>),
    /// Days until its authorization ends.
    pub authorization_days: Option<i64>,
    /// The last hour, the oldest minute first.
    pub minutes: Vec<Minute>,
}

/// Why a tenant is not active.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SetAside {
    /// Since when, UTC.
    pub since: String,
    /// By whom; `automatic` where nobody did it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What is probably wrong with a tenant.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Probable {
    /// What it is.
    pub cause: String,
    /// `certain`, `likely` or `possible`.
    pub confidence: &'static str,
    /// What it rests on, a line each.
    pub evidence: Vec<String>,
    /// What to do; words in backquotes are to be typed.
    pub next_step: String,
    /// Whose that is.
    pub whose: String,
    /// Their name, where one is known.
    pub owner: Option<String>,
    /// Other findings, in words.
    pub also: Vec<String>,
    /// The runbook's page.
    pub runbook: Option<&'static str>,
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

impl Alert {
    /// Whether it is worth knowing rather than trouble: somebody called an endpoint for the first time.
    #[must_use]
    pub fn is_news(&self) -> bool {
        self.alert == "new_endpoint"
    }
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
    /// The line of `routes` that would allow it, where a route is what it lacks.
    pub route: String,
    /// Else what would allow it, in words; words in backquotes are to be typed.
    pub remedy: String,
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
    /// Of whom; empty where it is this sidecar's own.
    pub subject: String,
    /// Days from today; negative when it is past.
    pub days_left: i64,
    /// Who mends it.
    pub owner: Option<String>,
}
