package world

// CallKind is which call of Env a process made. Those that nobody waits in, as are a look
// at the clock or a number drawn, are no calls: a process that dies there has died before
// its next one.
type CallKind uint8

// The calls.
const (
	ClockSleep CallKind = iota
	TasksGo
	TasksGroupWait
	TasksCondWait
	TasksOffload
	FSCreate
	FSOpen
	FSRename
	FSRemove
	FSList
	FSMkdirAll
	FSSyncDir
	FSLock
	FileReadAt
	FileWriteAt
	FileSync
	FileTruncate
	FileAllocate
	FileSize
	NetListen
	NetAccept
	NetDial
	ConnRead
	ConnWrite
	BucketPut
	BucketGet
	BucketGetRange
	BucketHead
	BucketList
	BucketDelete
	BucketOpen
	ObjectReadAt
	TraceYield
	callKinds
)

func (k CallKind) String() string {
	return [callKinds]string{
		"Clock.Sleep", "Group.Go", "Group.Wait", "Cond.Wait", "Tasks.Offload", "FS.Create", "FS.Open", "FS.Rename", "FS.Remove", "FS.List",
		"FS.MkdirAll", "FS.SyncDir", "FS.Lock", "File.ReadAt", "File.WriteAt", "File.Sync", "File.Truncate", "File.Allocate", "File.Size",
		"Net.Listen", "Listener.Accept", "Net.Dial", "Conn.Read", "Conn.Write", "Bucket.Put", "Bucket.Get", "Bucket.GetRange",
		"Bucket.Head", "Bucket.List", "Bucket.Delete", "Bucket.Open", "Object.ReadAt", "Trace.Yield",
	}[k]
}

// CallKinds is every kind of call in order.
func CallKinds() []CallKind {
	kinds := make([]CallKind, callKinds)
	for i := range kinds {
		kinds[i] = CallKind(i)
	}
	return kinds
}

// StormCalls counts the calls of a kind that the node made in the storm.
func (n *Node) StormCalls(kind CallKind) uint64 { return n.stormCalls[kind] }

// FellAt is the node that fell at the call that [World.KillAtCall] named, and which call
// that was; nil if it was not made.
func (w *World) FellAt() (*Node, CallKind) { return w.storm.fell, w.storm.fellAt }
