package database

import (
	"fmt"
	"slices"
	"syscall"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// PeerRefusal asks the kernel whose process is at the other end of a unix socket,
// and says why it may not connect; "" if it may.
func PeerRefusal(fd int, a *resource.AppAuth) string {
	if a == nil || len(a.PeerUIDs) == 0 {
		return ""
	}
	cred, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	switch {
	case err != nil:
		return "dragoman: it is not known whose process this is: " + err.Error()
	case !slices.Contains(a.PeerUIDs, cred.Uid):
		return fmt.Sprintf("dragoman: processes of the system's user %d may not use this listener (appAuth.peerUIDs)", cred.Uid)
	}
	return ""
}
