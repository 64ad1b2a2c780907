// Package hub brings models from a Hugging Face hub into the cache directory
// that other programs share, and finds them there:
//
//	CACHE/models--OWNER--NAME/
//	    blobs/ETAG              a file's contents
//	    blobs/ETAG.incomplete   the first bytes of one that is on its way
//	    refs/REVISION           the commit that a branch or tag stood for
//	    snapshots/COMMIT/FILE   a relative link to a blob
//	CACHE/.locks/models--OWNER--NAME/ETAG.lock
//
// An etag is the SHA-256 of a file that the repository keeps outside of git,
// and git's own SHA-1 (of "blob SIZE\0" and the contents) of any other.
//
// What holds at any moment, also after a cut or a kill: a blob has the size and
// the checksum that the hub gave; a snapshot has a file only when its blob is
// there; weights are linked after everything else, and the revision is written
// when the snapshot is whole. An .incomplete file is only written to by who
// holds the blob's lock, and its checksum is taken from its first byte, so a
// damaged one costs time and no more.
//
// The token goes to the endpoint and to no other host, scheme or port.
package hub
