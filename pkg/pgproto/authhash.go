package pgproto

import (
	"crypto"
	"crypto/md5"      //nolint:gosec // the protocol's
	_ "crypto/sha256" // for crypto.Hash, as the next
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/hex"
)

// MD5Password is what a client answers to AuthMD5: "md5" and 32 hex digits, made
// of the password, the user that it belongs to and the server's salt.
func MD5Password(user, password string, salt []byte) string {
	return MD5Response(MD5Stored(user, password), salt)
}

// MD5Stored is what a server keeps of a password: "md5" and 32 hex digits.
func MD5Stored(user, password string) string { return md5Hex([]byte(password + user)) }

// MD5Response makes the answer to AuthMD5 of what the server keeps.
func MD5Response(stored string, salt []byte) string {
	return md5Hex(append([]byte(stored)[3:], salt...))
}

// IsMD5Stored reports whether a secret is what MD5Stored makes, and not a
// password.
func IsMD5Stored(secret string) bool {
	if len(secret) != 3+2*md5.Size || secret[:3] != "md5" {
		return false
	}
	_, err := hex.DecodeString(secret[3:])
	return err == nil
}

func md5Hex(b []byte) string {
	sum := md5.Sum(b) //nolint:gosec // the protocol's
	return "md5" + hex.EncodeToString(sum[:])
}

// bindingHash is the hash function of RFC 5929, section 4.1; 0 for none.
func bindingHash(a x509.SignatureAlgorithm) crypto.Hash {
	switch a {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256, x509.DSAWithSHA256:
		return crypto.SHA256
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		return crypto.SHA384
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		return crypto.SHA512
	}
	return 0
}
