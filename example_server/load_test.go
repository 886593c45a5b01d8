package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"
)

func decode(response *http.Response, into any) error {
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %s", response.StatusCode, text)
	}
	return json.Unmarshal(text, into)
}

// slowLogin logs in as root and tells begun when the handler has begun to read the
// request, which is when it asks for the body. It returns 0 if there was no answer.
func slowLogin(location string, begun chan<- struct{}) int {
	form := url.Values{"grant_type": {"password"}, "username": {"root"}, "password": {rootPassword}}
	request, err := http.NewRequest("POST", location+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return 0
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Expect", "100-continue")
	trace := &httptrace.ClientTrace{Got100Continue: func() { begun <- struct{}{} }}
	transport := &http.Transport{ExpectContinueTimeout: time.Minute, DisableKeepAlives: true}
	response, err := transport.RoundTrip(request.WithContext(httptrace.WithClientTrace(request.Context(), trace)))
	if err != nil {
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}
