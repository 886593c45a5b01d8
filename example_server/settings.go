package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/tokens"
)

// settings is what flags and environment say.
type settings struct {
	addr, store, issuer, audience, keyFile string

	rootName, rootEmail, rootPassword string

	trustedProxies []netip.Prefix

	smtpURL, mailFrom string
	mailToLog         bool
	noRegistration    bool

	cookieClient string

	metricsAddr string

	accessTTL, refreshTTL, sessionTTL, reuseInterval, lostReplyWindow, accountCache time.Duration
}

const defaultRefreshTTL = 720 * time.Hour

func parseSettings(arguments []string, getenv func(string) string, stderr io.Writer) (*settings, error) {
	s := new(settings)
	flags := flag.NewFlagSet("example_server", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // an error is one sentence, printed by main
	// The environment is not the default of a flag: -help prints defaults, and a URI
	// may hold a password.
	var readEnvironment []func()
	fromEnvironment := func(field *string, name, variable, value, usage string) {
		flags.StringVar(field, name, value, usage+" (environment: "+variable+")")
		readEnvironment = append(readEnvironment, func() {
			if !isSet(flags, name) {
				*field = cmp.Or(getenv(variable), value)
			}
		})
	}
	fromEnvironment(&s.addr, "addr", "OAUTHSV_ADDR", "127.0.0.1:8080", "address to listen on; port 0 picks a free one")
	fromEnvironment(&s.store, "store", "OAUTHSV_STORE", "bolt:oauthsv.db", "bolt:FILE, memory:, or a mongodb:// URI with a database name")
	fromEnvironment(&s.issuer, "issuer", "OAUTHSV_ISSUER", "", "the URL of this server that clients use; by default http:// and the address, if that is loopback")
	fromEnvironment(&s.audience, "audience", "OAUTHSV_AUDIENCE", "", "the API that access tokens are for; by default the issuer")
	fromEnvironment(&s.keyFile, "key-file", "OAUTHSV_KEY_FILE", "oauthsv.key", "file of the signing key: JWK, JWK set, PEM, or a raw HMAC secret; made if there is none")
	var proxies string
	fromEnvironment(&proxies, "trusted-proxies", "OAUTHSV_TRUSTED_PROXIES", "", "networks of the proxies whose X-Forwarded-For is believed, such as 10.0.0.0/8,::1/128; by default none")
	flags.StringVar(&s.rootName, "root-name", "root", "name of the administrator; made at a start that finds no account at all")
	flags.StringVar(&s.rootEmail, "root-email", "root@localhost", "e-mail of that account; its password is that of OAUTHSV_ROOT_PASSWORD, else a new one that is printed once")
	durationFlag(flags, &s.accessTTL, "access-ttl", 15*time.Minute, "lifetime of access tokens")
	durationFlag(flags, &s.refreshTTL, "refresh-ttl", defaultRefreshTTL, "lifetime of a session after its last refresh")
	durationFlag(flags, &s.sessionTTL, "session-ttl", 2160*time.Hour, "lifetime of a session after its login; 0 for none")
	durationFlag(flags, &s.reuseInterval, "reuse-interval", 10*time.Second, "how long after a refresh the old refresh token works, for two tabs that refresh at once; at most 60s, 0 is strict")
	durationFlag(flags, &s.lostReplyWindow, "lost-reply-window", 0, "how long after a refresh the old refresh token works if its reply was lost; 0 turns it off (default: the refresh TTL)")
	durationFlag(flags, &s.accountCache, "account-cache", 0, "how long a protected request may be answered from memory; a revocation by another process takes effect here after that time; 0 asks the store each time")
	flags.StringVar(&s.mailFrom, "mail-from", "", "address that mails come from (default: that of -root-email); OAUTHSV_SMTP_URL, such as smtp://user:password@host:587, says where they go")
	flags.BoolVar(&s.mailToLog, "mail-to-log", false, "write mails to the log instead of sending them, codes included; for development")
	var registration string
	flags.StringVar(&registration, "registration", "on", "on or off: whether strangers can register; without mail nobody can")
	fromEnvironment(&s.cookieClient, "cookie-client", "OAUTHSV_COOKIE_CLIENT", "browser", `client_id of a browser app whose refresh token is kept in a cookie that no script reads; -cookie-client "" turns that off`)
	flags.StringVar(&s.metricsAddr, "metrics-addr", "", "address to serve figures for Prometheus on, at /metrics; keep it from strangers; port 0 picks a free one (default: none)")
	s.rootPassword = getenv("OAUTHSV_ROOT_PASSWORD")
	s.smtpURL = getenv("OAUTHSV_SMTP_URL")

	err := flags.Parse(arguments)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(stderr, "Usage: example_server [flags], or: example_server accounts|backup|keys -help")
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w (-help lists the flags)", err)
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %s (-help lists the flags)", shown(flags.Arg(0)))
	}
	for _, read := range readEnvironment {
		read()
	}
	if s.trustedProxies, err = parseNetworks(proxies); err != nil {
		return nil, fmt.Errorf("-trusted-proxies: %w", err)
	}
	if s.smtpURL == "" && !s.mailToLog { // perhaps the variable is misspelled
		switch {
		case s.mailFrom != "":
			return nil, errors.New("-mail-from needs OAUTHSV_SMTP_URL, which says where mails go")
		case isSet(flags, "registration") && registration == "on":
			return nil, errors.New("-registration on needs mail: set OAUTHSV_SMTP_URL, or -mail-to-log for development")
		}
	}
	s.mailFrom = cmp.Or(s.mailFrom, s.rootEmail)
	s.noRegistration = registration == "off"
	if registration != "on" && registration != "off" {
		return nil, fmt.Errorf("-registration %q: must be on or off", registration)
	}
	if s.keyFile == "" {
		return nil, errors.New("-key-file is empty: give the name of a file, such as oauthsv.key")
	}
	if err := s.checkDurations(); err != nil {
		return nil, err
	}
	if err := s.checkCookieClient(); err != nil {
		return nil, err
	}
	s.sessionTTL = cmp.Or(s.sessionTTL, store.Off)
	s.reuseInterval = cmp.Or(s.reuseInterval, store.Off)
	s.lostReplyWindow = cmp.Or(s.lostReplyWindow, store.Off)
	if !isSet(flags, "lost-reply-window") {
		s.lostReplyWindow = s.refreshTTL
	}
	return s, nil
}

// durationFlag is flags.DurationVar, with an error that says how a duration is written.
func durationFlag(flags *flag.FlagSet, field *time.Duration, name string, value time.Duration, usage string) {
	*field = value
	flags.Var((*durationValue)(field), name, usage)
}

type durationValue time.Duration

func (d *durationValue) String() string { return time.Duration(*d).String() }

func (d *durationValue) Set(text string) error {
	value, err := time.ParseDuration(text)
	if err != nil {
		return errors.New("write a duration such as 90s, 15m or 720h; the longest is 2562047h")
	}
	*d = durationValue(value)
	return nil
}

// parseFlags parses the arguments of a command. For -help it prints the usage and the flags, and
// returns flag.ErrHelp. Any other error is one sentence.
func parseFlags(flags *flag.FlagSet, arguments []string, usage string, stderr io.Writer) error {
	flags.SetOutput(io.Discard)
	err := flags.Parse(arguments)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stderr, usage)
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: %w (-help lists the flags)", flags.Name(), err)
	}
	return nil
}

// shown is an argument as an error shows it: one in the wrong place may be a URI with a password.
func shown(argument string) string {
	if strings.ContainsAny(argument, "@") || strings.Contains(argument, "://") {
		return "that looks like a URI"
	}
	return strconv.Quote(argument)
}

func isSet(flags *flag.FlagSet, name string) (found bool) {
	flags.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

// parseNetworks reads a list of networks. An address alone is a network of one.
func parseNetworks(list string) (networks []netip.Prefix, err error) {
	for text := range strings.SplitSeq(list, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		network, err := netip.ParsePrefix(text)
		if address, isAddress := netip.ParseAddr(text); isAddress == nil {
			network, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%q is no network: write one such as 10.0.0.0/8 or ::1/128, and commas between several", text)
		}
		networks = append(networks, network.Masked())
	}
	return networks, nil
}

// checkDurations names the flag where the packages could only name their own fields.
func (s *settings) checkDurations() error {
	for _, setting := range []struct {
		flag          string
		value, lowest time.Duration
		highest       time.Duration
		none          bool // 0 means none
	}{
		{flag: "access-ttl", value: s.accessTTL, lowest: time.Second},
		{flag: "refresh-ttl", value: s.refreshTTL, lowest: time.Second},
		{flag: "session-ttl", value: s.sessionTTL, lowest: time.Second, none: true},
		{flag: "reuse-interval", value: s.reuseInterval, highest: time.Minute},
		{flag: "lost-reply-window", value: s.lostReplyWindow},
		{flag: "account-cache", value: s.accountCache},
	} {
		switch {
		case setting.none && setting.value == 0:
		case setting.none && setting.value < setting.lowest:
			return fmt.Errorf("-%s %v: must be at least %v, such as 2160h, or 0 for none", setting.flag, setting.value, setting.lowest)
		case setting.value < setting.lowest:
			return fmt.Errorf("-%s %v: must be at least %v, such as 15m", setting.flag, setting.value, setting.lowest)
		case setting.highest > 0 && setting.value > setting.highest:
			return fmt.Errorf("-%s %v: must be at most %v, such as 10s", setting.flag, setting.value, setting.highest)
		}
	}
	return nil
}

// checkCookieClient names the flag where package grant could only name its own field.
func (s *settings) checkCookieClient() error {
	if s.cookieClient == pageClient {
		return fmt.Errorf("-cookie-client %q: the page at / shows the refresh token of this client: choose another one, such as browser", s.cookieClient)
	}
	malformed := strings.ContainsFunc(s.cookieClient, func(r rune) bool { return r < ' ' || r > '~' })
	if malformed || len(s.cookieClient) > 256 {
		return fmt.Errorf(`-cookie-client %q: must be 1 to 256 printable ASCII characters, such as browser; -cookie-client "" turns the cookie off`, s.cookieClient)
	}
	return nil
}

// refreshCookies are the clients that have a cookie.
func (s *settings) refreshCookies() map[string]*grant.RefreshCookie {
	if s.cookieClient == "" {
		return nil
	}
	return map[string]*grant.RefreshCookie{s.cookieClient: {}}
}

// chooseIssuer settles the issuer once the address is known.
func (s *settings) chooseIssuer(address net.Addr, logger *slog.Logger) error {
	if s.issuer == "" {
		if !isLoopback(address.String()) {
			return errors.New("-issuer is required where -addr is not a loopback address: give the URL that clients use, such as https://login.example.org")
		}
		s.issuer = "http://" + address.String()
		if _, port, _ := net.SplitHostPort(s.addr); port == "0" {
			logger.Warn("the port was picked at random: tokens of this issuer are refused after a restart on another port; set -issuer or a port", "issuer", s.issuer)
		}
	}
	if err := s.checkIssuer(); err != nil {
		return err
	}
	location, err := url.Parse(s.issuer)
	if err != nil {
		return errors.New("-issuer: not a URL") // which checkIssuer has said already
	}
	switch {
	case isLoopback(location.Host) && !isLoopback(address.String()):
		logger.Warn("the server listens beyond loopback, and the issuer is a loopback URL: clients on other machines cannot use the URLs of this issuer, and passwords and tokens of those that connect cross the network in the clear; give -issuer the https URL that clients use, or listen on loopback", "issuer", s.issuer, "addr", s.addr)
	case strings.EqualFold(location.Scheme, "http") && !isLoopback(location.Host):
		logger.Warn("the issuer is an http URL: passwords and tokens cross the network in the clear; put TLS in front and use https", "issuer", s.issuer)
	}
	return nil
}

// checkIssuer tries the issuer and the audience with a key for once, so that a wrong one is said
// before the store and the key file are made, and before a log shows the password that it may hold.
func (s *settings) checkIssuer() error {
	key, err := tokens.GenerateKey(tokens.HS512)
	if err != nil {
		return err
	}
	keys, err := tokens.NewKeyring(key)
	if err != nil {
		return err
	}
	if _, err := tokens.NewIssuer(tokens.IssuerConfig{Keys: keys, Issuer: s.issuer, Audience: s.audience}); err != nil {
		return fmt.Errorf("-issuer, -audience: %w", err)
	}
	return nil
}

func isLoopback(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = strings.Trim(hostPort, "[]")
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
