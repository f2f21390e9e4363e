//! The one error type of the workspace: what PostgreSQL's ErrorResponse carries.
//!
//! Promises: a primary message in lower case that names the thing, optional detail and hint as
//! sentences, a SQLSTATE from one exhaustive match. Does not wrap other errors: whoever catches a
//! library's error says here what it means to the user.

use std::fmt;

/// The result of everything in Thalweg that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error as a client sees it (<https://www.postgresql.org/docs/16/protocol-error-fields.html>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Fields>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fields {
    state: SqlState,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    position: Option<usize>,
    subject: Subject,
}

/// What an error is about, as far as it is about one thing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The schema of the table.
    pub schema: Option<String>,
    /// The table.
    pub table: Option<String>,
    /// The column.
    pub column: Option<String>,
    /// The constraint, or the index that is one.
    pub constraint: Option<String>,
}

impl Subject {
    /// A constraint of a table whose schema is yet to be found.
    pub fn constraint(table: &str, constraint: &str) -> Subject {
        Subject { table: Some(table.into()), constraint: Some(constraint.into()), ..Subject::default() }
    }
}

macro_rules! sql_states {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// The SQLSTATEs in use (<https://www.postgresql.org/docs/16/errcodes-appendix.html>).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum SqlState { $($(#[$doc])* $name,)* }

        impl SqlState {
            /// The five characters of the code.
            pub fn code(self) -> &'static str {
                match self { $(SqlState::$name => $code,)* }
            }

            /// The state with this code, if it is one of ours.
            pub fn from_code(code: &str) -> Option<SqlState> {
                match code { $($code => Some(SqlState::$name),)* _ => None }
            }
        }
    };
}

sql_states! {
    /// A notice, no error.
    SuccessfulCompletion = "00000",
    /// A warning, no error.
    Warning = "01000",
    /// The client broke the protocol.
    ProtocolViolation = "08P01",
    /// The other side of a connection cannot be reached.
    ConnectionFailure = "08006",
    /// A broker or server refused the connection.
    ConnectionRefused = "08001",
    /// The construct is not supported.
    FeatureNotSupported = "0A000",
    /// A scalar subquery gave more than one row.
    CardinalityViolation = "21000",
    /// A string is longer than its type allows.
    StringTruncation = "22001",
    /// A number does not fit its type.
    NumericOutOfRange = "22003",
    /// A date or time does not fit its type.
    DatetimeOverflow = "22008",
    /// A substring of negative length.
    SubstringError = "22011",
    /// Division by zero.
    DivisionByZero = "22012",
    /// A date or time field has an impossible value.
    InvalidDatetimeFormat = "22007",
    /// A time zone's offset is beyond what is allowed.
    InvalidTimeZoneDisplacement = "22009",
    /// A field of an interval does not fit.
    IntervalFieldOverflow = "22015",
    /// A power that is not defined.
    InvalidPowerArgument = "2201F",
    /// A parameter has a value outside of what is allowed.
    InvalidParameter = "22023",
    /// Text is not a value of its type.
    InvalidTextRepresentation = "22P02",
    /// Binary data is not a value of its type.
    InvalidBinaryRepresentation = "22P03",
    /// A line of a file or of COPY data is malformed.
    BadCopyFileFormat = "22P04",
    /// A byte sequence is not valid in the encoding.
    CharacterNotInRepertoire = "22021",
    /// A jsonpath subscript that is none.
    InvalidJsonSubscript = "22033",
    /// Arithmetic in a jsonpath over what is no number.
    NonNumericJson = "22036",
    /// More or fewer values than the one that a jsonpath needs.
    SingletonJsonRequired = "22038",
    /// No array where a jsonpath needs one.
    JsonArrayNotFound = "22039",
    /// No such field where a jsonpath needs it.
    JsonMemberNotFound = "2203A",
    /// No number where a jsonpath needs one.
    JsonNumberNotFound = "2203B",
    /// No object where a jsonpath needs one.
    JsonObjectNotFound = "2203C",
    /// A value that an operation has no use for.
    DataException = "22000",
    /// Arrays that do not go together.
    ArraySubscript = "2202E",
    /// A character that text cannot hold.
    UntranslatableCharacter = "22P05",
    /// A null where none is allowed.
    NotNullViolation = "23502",
    /// A value that must be unique is there already.
    UniqueViolation = "23505",
    /// A row fails a CHECK constraint.
    CheckViolation = "23514",
    /// A transaction that failed takes no more statements.
    InFailedTransaction = "25P02",
    /// The statement cannot run inside a transaction block.
    ActiveTransaction = "25001",
    /// There is no transaction to end.
    NoActiveTransaction = "25P01",
    /// The transaction may change nothing.
    ReadOnlyTransaction = "25006",
    /// The connection did nothing in its transaction for too long.
    IdleInTransactionTimeout = "25P03",
    /// A savepoint of that name does not exist.
    InvalidSavepoint = "3B001",
    /// A prepared statement of that name does not exist.
    InvalidStatementName = "26000",
    /// The user may not connect so.
    InvalidAuthorization = "28000",
    /// The password is wrong.
    InvalidPassword = "28P01",
    /// What is granted cannot be granted so.
    InvalidGrantOperation = "0LP01",
    /// A warning: not all that was to be granted was.
    PrivilegeNotGranted = "01007",
    /// A warning: not all that was to be revoked was.
    PrivilegeNotRevoked = "01006",
    /// The role may not do this.
    InsufficientPrivilege = "42501",
    /// The name is kept for the system.
    ReservedName = "42939",
    /// Other objects depend on this one.
    DependentObjectsStillExist = "2BP01",
    /// A portal of that name does not exist.
    InvalidCursorName = "34000",
    /// A database of that name does not exist.
    InvalidCatalogName = "3D000",
    /// A schema of that name does not exist.
    InvalidSchemaName = "3F000",
    /// Buckets of no width or number.
    InvalidWidthBucketArgument = "2201G",
    /// A regular expression that follows no rules.
    InvalidRegularExpression = "2201B",
    /// An escape character where it means nothing.
    InvalidUseOfEscapeCharacter = "2200C",
    /// More than one character to escape with.
    InvalidEscapeSequence = "22025",
    /// What should be a name is none.
    InvalidName = "42602",
    /// A serialization failure; try again.
    SerializationFailure = "40001",
    /// The text is not a statement.
    SyntaxError = "42601",
    /// The name of a column is ambiguous.
    AmbiguousColumn = "42702",
    /// No such column.
    UndefinedColumn = "42703",
    /// An object (a collation, a type, a source) does not exist.
    UndefinedObject = "42704",
    /// The object exists already.
    DuplicateObject = "42710",
    /// A column of that name exists already.
    DuplicateColumn = "42701",
    /// An alias is used twice.
    DuplicateAlias = "42712",
    /// Ungrouped columns or misplaced aggregates.
    GroupingError = "42803",
    /// The operands have types that do not go together.
    DatatypeMismatch = "42804",
    /// A frame's bound that lies nowhere.
    InvalidFrameOffset = "22013",
    /// Fewer buckets than one.
    InvalidArgumentForNtile = "22014",
    /// A row before the first.
    InvalidArgumentForNthValue = "22016",
    /// A window that cannot be.
    WindowingError = "42P20",
    /// A logarithm of zero or less.
    InvalidLogarithmArgument = "2201E",
    /// A negative LIMIT.
    InvalidLimit = "2201W",
    /// A negative OFFSET.
    InvalidOffset = "2201X",
    /// A null where a value is needed.
    NullValueNotAllowed = "22004",
    /// A recursive query that is not of the one form there is.
    InvalidRecursion = "42P19",
    /// The object is not of the kind that the statement needs.
    WrongObjectType = "42809",
    /// No such function or operator.
    UndefinedFunction = "42883",
    /// More than one function fits.
    AmbiguousFunction = "42725",
    /// Types cannot be coerced.
    CannotCoerce = "42846",
    /// A portal of that name exists already.
    DuplicateCursor = "42P03",
    /// A prepared statement of that name exists already.
    DuplicatePreparedStatement = "42P05",
    /// No such table, view or source.
    UndefinedTable = "42P01",
    /// A parameter $n does not exist.
    UndefinedParameter = "42P02",
    /// A relation of that name exists already.
    DuplicateTable = "42P07",
    /// There is such a schema already.
    DuplicateSchema = "42P06",
    /// A value for a column whose values are generated always.
    GeneratedAlways = "428C9",
    /// A sequence has no more values.
    SequenceLimitExceeded = "2200H",
    /// A column reference that is not valid where it stands.
    InvalidColumnReference = "42P10",
    /// A parameter's type cannot be inferred.
    IndeterminateDatatype = "42P18",
    /// What is to be in a new schema names another one.
    InvalidSchemaDefinition = "42P15",
    /// The definition of a table does not hold together.
    InvalidTableDefinition = "42P16",
    /// The definition of an object does not hold together.
    InvalidObjectDefinition = "42P17",
    /// The definition of a column does not hold together.
    InvalidColumnDefinition = "42611",
    /// Too many rows, too deep an expression: a limit of ours.
    ProgramLimitExceeded = "54000",
    /// The statement is too deeply nested.
    StatementTooComplex = "54001",
    /// The object is being used.
    ObjectInUse = "55006",
    /// The object is not in a state that allows this.
    ObjectNotInPrerequisiteState = "55000",
    /// The setting cannot be changed.
    CantChangeRuntimeParam = "55P02",
    /// A lock (of a data folder, say) is held by somebody else.
    LockNotAvailable = "55P03",
    /// Sessions wait for each other's locks.
    DeadlockDetected = "40P01",
    /// The client cancelled the statement.
    QueryCanceled = "57014",
    /// The server is stopping.
    AdminShutdown = "57P01",
    /// The connection did nothing for too long.
    IdleSessionTimeout = "57P05",
    /// The server does not take connections yet.
    CannotConnectNow = "57P03",
    /// Too many connections.
    TooManyConnections = "53300",
    /// More columns or fields than there may be.
    TooManyColumns = "54011",
    /// No memory left.
    OutOfMemory = "53200",
    /// No disk space left.
    DiskFull = "53100",
    /// Reading or writing failed.
    IoError = "58030",
    /// A file is missing.
    UndefinedFile = "58P01",
    /// A defect of ours.
    InternalError = "XX000",
    /// What the disk holds is damaged.
    DataCorrupted = "XX001",
}

impl Error {
    /// An error with its primary message: lower case, no full stop, the thing named.
    pub fn new(state: SqlState, message: impl Into<String>) -> Error {
        let message = message.into();
        Error(Box::new(Fields {
            state,
            message,
            detail: None,
            hint: None,
            position: None,
            subject: Subject::default(),
        }))
    }

    /// Something that cannot happen, did.
    pub fn internal(message: impl Into<String>) -> Error {
        Error::new(SqlState::InternalError, message)
    }

    /// A construct that Thalweg does not support: `what` names it.
    pub fn unsupported(what: impl fmt::Display) -> Error {
        Error::new(SqlState::FeatureNotSupported, format!("{what} is not supported"))
    }

    /// Adds the detail, whole sentences.
    pub fn detail(mut self, detail: impl Into<String>) -> Error {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds the hint, whole sentences.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the place in the statement's text, in characters from 1.
    pub fn at(mut self, position: usize) -> Error {
        self.0.position = Some(position);
        self
    }

    /// The SQLSTATE.
    pub fn state(&self) -> SqlState {
        self.0.state
    }

    /// Adds what it is about.
    pub fn about(mut self, subject: Subject) -> Error {
        self.0.subject = subject;
        self
    }

    /// What it is about.
    pub fn subject(&self) -> &Subject {
        &self.0.subject
    }

    /// The primary message.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The detail, if any.
    pub fn detail_text(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The hint, if any.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The place in the statement's text, in characters from 1, if known.
    pub fn position(&self) -> Option<usize> {
        self.0.position
    }

    /// This error as DataFusion carries it through a plan; [`Error::from_datafusion`] gets it back.
    pub fn into_datafusion(self) -> datafusion::error::DataFusionError {
        datafusion::error::DataFusionError::External(Box::new(self))
    }

    /// The error inside a DataFusion error: ours if it carries one, else what DataFusion says.
    pub fn from_datafusion(error: &datafusion::error::DataFusionError) -> Error {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(inner) = cause {
            if let Some(ours) = inner.downcast_ref::<Error>() {
                return ours.clone();
            }
            if let Some(datafusion::error::DataFusionError::External(boxed)) = inner.downcast_ref()
                && let Some(ours) = boxed.downcast_ref::<Error>()
            {
                return ours.clone();
            }
            if let Some(arrow::error::ArrowError::ExternalError(boxed)) = inner.downcast_ref()
                && let Some(ours) = boxed.downcast_ref::<Error>()
            {
                return ours.clone();
            }
            if let Some(datafusion::error::DataFusionError::ResourcesExhausted(_)) = inner.downcast_ref() {
                return Error::new(SqlState::OutOfMemory, "out of memory")
                    .detail("The query needs more memory than queries may use, and cannot spill it.")
                    .hint("Start the server with more --memory.");
            }
            if let Some(arrow::error::ArrowError::DivideByZero) = inner.downcast_ref() {
                return Error::new(SqlState::DivisionByZero, "division by zero");
            }
            if let Some(arrow::error::ArrowError::ArithmeticOverflow(_)) = inner.downcast_ref() {
                return Error::new(SqlState::NumericOutOfRange, "value out of range");
            }
            cause = inner.source();
        }
        let message = error.strip_backtrace();
        if let Some((_, cause)) = message.split_once("Regular expression did not compile: ") {
            let cause = cause.lines().last().unwrap_or_default();
            return Error::new(SqlState::InvalidRegularExpression, format!("invalid regular expression: {cause}"));
        }
        if message.ends_with("Scalar subquery returned more than one row") {
            return Error::new(
                SqlState::CardinalityViolation,
                "more than one row returned by a subquery used as an expression",
            );
        }
        if message.contains("scalar_subquery_to_join") || message.contains("decorrelate_predicate_subquery") {
            return Error::unsupported("this correlated subquery")
                .hint("Supported are those that compare columns inside with columns outside by =.");
        }
        Error::internal(message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Error {
        Error::from_datafusion(&datafusion::error::DataFusionError::from(error))
    }
}

impl From<datafusion::error::DataFusionError> for Error {
    fn from(error: datafusion::error::DataFusionError) -> Error {
        Error::from_datafusion(&error)
    }
}
