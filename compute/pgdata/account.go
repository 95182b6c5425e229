package pgdata

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// accountName is whom PostgreSQL runs as when we are root, which it refuses to be.
const accountName = "postgres"

// Account is whom PostgreSQL runs as and who owns its files. The zero Account is
// ourselves.
type Account struct{ credential *syscall.Credential }

// FindAccount returns ourselves, or user postgres if we are root.
func FindAccount() (Account, error) {
	if os.Geteuid() != 0 {
		return Account{}, nil
	}
	const fix = "create it (install Debian's postgresql-common), or run as another user than root"
	account, err := user.Lookup(accountName)
	if err != nil {
		return Account{}, fmt.Errorf("find the user that PostgreSQL runs as: %w: %s", err, fix)
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return Account{}, fmt.Errorf("read the id of user %s: %w", accountName, err)
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return Account{}, fmt.Errorf("read the group of user %s: %w", accountName, err)
	}
	return Account{&syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// Credential is what a process of this account starts with; nil: ours.
func (a Account) Credential() *syscall.Credential { return a.credential }

// Own gives a file or directory to the account.
func (a Account) Own(path string) error {
	if a.credential == nil {
		return nil
	}
	return os.Lchown(path, int(a.credential.Uid), int(a.credential.Gid))
}

// MakeDir makes a directory of the account, and its parents as ours. It is no error
// if it is there: then it is the account's afterwards.
func (a Account) MakeDir(path string, mode os.FileMode) error {
	if err := os.MkdirAll(path, mode); err != nil {
		return err
	}
	return a.Own(path)
}
