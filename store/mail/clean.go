package mail

import (
	"strings"
	"unicode"
)

// maxValue bounds, in runes, what a value of a request can take of a mail.
const maxValue = 100

// clean makes one short line of a value that came from a request. A value that was cut
// ends with an ellipsis. No web address stays whole, see unlink.
//
// In a subject, "=?" can begin an encoded word (RFC 2047). That could bring back all that
// oneLine has dropped.
func clean(value string) string {
	return strings.NewReplacer("://", "[:]//", "=?", "= ?").Replace(oneLine(value, maxValue))
}

// oneLine drops all characters that nobody sees or that change how others look: control
// characters, zero-width ones, and those that turn the direction of the text. White space
// of all kinds becomes a single space.
func oneLine(text string, limit int) string {
	text = text[:min(len(text), 16*limit)] // bounds the work, with room for what is dropped
	var line []rune
	for _, r := range strings.ToValidUTF8(text, "") {
		switch {
		case unicode.IsSpace(r):
			if len(line) == 0 || line[len(line)-1] == ' ' {
				continue
			}
			r = ' '
		case !unicode.IsGraphic(r), unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector), r == '\u2800':
			continue // U+2800 is a braille pattern without dots
		}
		line = append(line, r)
	}
	if len(line) > limit {
		line = append(line[:limit-1], '…')
	}
	return strings.TrimRight(string(line), " ")
}

// unlink keeps mail programs from making a link of a value that a stranger wrote.
// Otherwise a user agent such as "Your account is locked: https://evil.example" makes our
// mail a phishing mail, sent from our address to anybody.
//
// Programs make links of web addresses, and also of bare names such as evil.example. The
// last label of a name begins with a letter, so unlink breaks each dot before a letter:
// "https[:]//evil[.]example" can be read, and opens nothing. Version numbers and IP
// addresses stay as they are. IDNA takes some other characters for dots, so unlink breaks
// these too.
func unlink(value string) string {
	runes := []rune(value)
	var unlinked strings.Builder
	for i, r := range runes {
		if strings.ContainsRune(".。．｡․", r) && i+1 < len(runes) && unicode.IsLetter(runes[i+1]) {
			unlinked.WriteString("[.]")
			continue
		}
		unlinked.WriteRune(r)
	}
	return unlinked.String()
}

// maxError bounds the text of an error in runes.
const maxError = 200

// cleanError makes the text of an error fit for logs. Servers like to repeat the address
// of the recipient, and any Sender may repeat more. So it leaves out what hide lists, the
// name before the @ of each address in it, and every word with an @.
func cleanError(text string, hide ...string) string {
	const hidden = "[hidden]"
	text = oneLine(text, 10*maxError)
	names := make(map[string]bool)
	for _, secret := range hide {
		if len(secret) < 4 {
			continue // it would tear other words apart, and show what it is
		}
		text = strings.ReplaceAll(text, secret, hidden)
		if at := strings.LastIndexByte(secret, '@'); at > 0 {
			names[strings.ToLower(secret[:at])] = true
		}
	}
	words := strings.Fields(text)
	for i, word := range words {
		name := strings.ToLower(strings.Trim(word, `"'<>()[]:;,.`))
		if strings.Contains(word, "@") || names[name] {
			words[i] = hidden
		}
	}
	return oneLine(strings.Join(words, " "), maxError)
}
