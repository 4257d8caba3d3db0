/* Version and source revision of this build. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

/* "v0.34.2+c.0.1.0": the BuildKit release that this is compatible with, which clients test
 * against, and our own version as semver build metadata. */
extern const char buildkit_version[];
extern const char buildkit_revision[]; /* git commit, or "unknown" */

#endif
