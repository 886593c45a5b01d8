-- What the team has had all along.
CREATE TABLE users (
  id            INTEGER PRIMARY KEY AUTOINCREMENT, -- never uses an id twice
  name          TEXT NOT NULL,
  email         TEXT NOT NULL,
  password_hash TEXT NOT NULL DEFAULT '',
  plan          TEXT NOT NULL DEFAULT 'free'
);
CREATE TABLE orders (
  id      INTEGER PRIMARY KEY,
  user_id INTEGER REFERENCES users (id) ON DELETE SET NULL,
  item    TEXT NOT NULL
);
-- The password is: nine-kettles-sing-at-noon
INSERT INTO users VALUES (4711, 'Ada', 'Ada@Example.org', '$2a$10$UzytmorgLgYGcu9hiOZszuOarSRi595IYX.GNUaqkBrGOz4s3x5vm', 'gold');
INSERT INTO orders (user_id, item) VALUES (4711, 'teapot'), (4711, 'kettle');
