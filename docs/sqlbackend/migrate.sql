-- The kit's columns, beside the team's own. Of those it uses name, email and password_hash.
ALTER TABLE users ADD COLUMN account_id          BLOB CHECK (length(account_id) = 12);
ALTER TABLE users ADD COLUMN email_key           TEXT COLLATE BINARY;
ALTER TABLE users ADD COLUMN phone               TEXT    NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN credentials_version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN groups              TEXT    NOT NULL DEFAULT '[]'; -- JSON
ALTER TABLE users ADD COLUMN disabled            INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN created             INTEGER NOT NULL DEFAULT 0; -- milliseconds, as the next two
ALTER TABLE users ADD COLUMN modified            INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN last_action         INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN sessions            BLOB    NOT NULL DEFAULT x''; -- BSON, as the next one
ALTER TABLE users ADD COLUMN other               BLOB    NOT NULL DEFAULT x'';
ALTER TABLE users ADD COLUMN format              INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN version             INTEGER NOT NULL DEFAULT 0;

CREATE UNIQUE INDEX users_account_id ON users (account_id);
CREATE UNIQUE INDEX users_name       ON users (name COLLATE BINARY);
CREATE UNIQUE INDEX users_email_key  ON users (email_key COLLATE BINARY);

-- Every user is an account. Make users with store.Accounts.Create, which prepares the name
-- and the e-mail.
CREATE TRIGGER users_are_accounts BEFORE INSERT ON users
WHEN NEW.account_id IS NULL OR NEW.email_key IS NULL
BEGIN SELECT RAISE(ABORT, 'users are made with store.Accounts.Create'); END;

-- The index for lists of a group.
CREATE TABLE users_in_groups (
  group_name TEXT NOT NULL COLLATE BINARY,
  account_id BLOB NOT NULL REFERENCES users (account_id) ON DELETE CASCADE,
  PRIMARY KEY (group_name, account_id)
) WITHOUT ROWID;
CREATE INDEX users_in_groups_account_id ON users_in_groups (account_id);

-- Counters of failed logins, and codes that were mailed.
CREATE TABLE expiring_records (
  key     TEXT PRIMARY KEY COLLATE BINARY,
  value   BLOB    NOT NULL,
  expires INTEGER NOT NULL, -- milliseconds
  version INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX expiring_records_expires ON expiring_records (expires);
