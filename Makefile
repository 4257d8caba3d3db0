# A thin front: the build itself is meson's.
#
#   make           build/bin/buildkitd and build/bin/buildctl
#   make demo      a real build of examples/hello, end to end
#   make check     all tests
#   make test      unit tests only
#   make soak      the long tests in full: kills, power losses, failing disks, memory
#   make asan tsan the unit tests under sanitizers
#   make lint      layers, banned functions, formatting
#   make fuzz      builds the fuzz targets and replays their corpora
#   make install   to $(DESTDIR)$(PREFIX)/bin

PREFIX ?= /usr/local
B = build

all: $(B)/bin

.PHONY: all demo check test soak asan tsan lint fuzz install clean packages FORCE

packages:
	@tools/install-packages.sh build run

$(B)/meson/build.ninja:
	@tools/install-packages.sh build
	meson setup $(B)/meson

# ninja knows what is up to date.
$(B)/bin: $(B)/meson/build.ninja FORCE
	ninja -C $(B)/meson src/daemon/buildkitd src/cli/buildctl
	@mkdir -p $(B)/bin
	@install -m 755 $(B)/meson/src/daemon/buildkitd $(B)/meson/src/cli/buildctl $(B)/bin/

FORCE:

demo: packages all
	@examples/demo.sh $(B)/bin

check:
	@tools/install-packages.sh build run test
	@$(MAKE) --no-print-directory all
	@tests/run.py $(B)

soak:
	@tools/install-packages.sh build run test
	@$(MAKE) --no-print-directory all
	@ninja -C $(B)/meson >/dev/null
	@tests/soak/run.py --build $(B) $(SUITE)

test: $(B)/meson/build.ninja
	meson test -C $(B)/meson --print-errorlogs

asan tsan:
	@tools/install-packages.sh build run
	@test -f $(B)/$@/build.ninja || meson setup $(B)/$@ -Db_lundef=false \
		-Db_sanitize=$(if $(filter asan,$@),address$(,)undefined,thread)
	meson test -C $(B)/$@ --print-errorlogs

, := ,

lint:
	@tools/lint.py

fuzz: $(B)/meson/build.ninja
	ninja -C $(B)/meson
	meson test -C $(B)/meson --suite fuzz --print-errorlogs

install: all
	install -D -m 755 $(B)/bin/buildkitd $(DESTDIR)$(PREFIX)/bin/buildkitd
	install -D -m 755 $(B)/bin/buildctl $(DESTDIR)$(PREFIX)/bin/buildctl

clean:
	rm -rf $(B)
