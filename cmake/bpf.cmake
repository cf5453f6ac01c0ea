# culvert_bpf: a skeleton header for each bpf/NAME.bpf.c, included as "NAME.skel.h", and libbpf behind it.
# The kernel's types come from the running kernel; the programs find their fields by CO-RE, so an object runs on other kernels too.
find_program(CULVERT_BPF_CLANG NAMES clang clang-19 clang-16 clang-15 clang-14 REQUIRED)
find_program(CULVERT_BPFTOOL NAMES bpftool PATHS /usr/sbin /sbin REQUIRED)
set(CULVERT_BTF "/sys/kernel/btf/vmlinux" CACHE FILEPATH "Type information of a kernel")
if(NOT EXISTS "${CULVERT_BTF}")
	message(FATAL_ERROR "${CULVERT_BTF} is missing: the kernel needs CONFIG_DEBUG_INFO_BTF, or name another file with -DCULVERT_BTF=")
endif()

set(generated "${CMAKE_BINARY_DIR}/bpf")
file(MAKE_DIRECTORY "${generated}")
add_custom_command(
	OUTPUT "${generated}/vmlinux.h"
	COMMAND "${CULVERT_BPFTOOL}" btf dump file "${CULVERT_BTF}" format c > "${generated}/vmlinux.h.new"
	COMMAND "${CMAKE_COMMAND}" -E rename "${generated}/vmlinux.h.new" "${generated}/vmlinux.h"
	COMMENT "Types of the kernel"
	VERBATIM)

set(layout "")
if(CULVERT_LAYOUT)
	set(layout "-DCULVERT_SHARED_VERSION=${CULVERT_LAYOUT}")
endif()
file(GLOB programs CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/bpf/*.bpf.c")
set(skeletons "")
foreach(program IN LISTS programs)
	cmake_path(GET program FILENAME file)
	string(REPLACE ".bpf.c" "" name "${file}")
	# The second object has its DWARF taken off; BTF stays.
	add_custom_command(
		OUTPUT "${generated}/${name}.bpf.o"
		COMMAND "${CULVERT_BPF_CLANG}" -target bpf -mcpu=v2 -g -O2 -std=gnu17 -Wall -Wextra -Werror -Wno-missing-declarations
			-Wno-unused-parameter ${layout} "-fdebug-prefix-map=${CMAKE_SOURCE_DIR}/=" "-I${CMAKE_SOURCE_DIR}/bpf" -isystem "${generated}"
			-MD -MF "${generated}/${name}.d" -MT "${generated}/${name}.bpf.o" -c "${program}" -o "${generated}/${name}.dwarf.o"
		COMMAND "${CULVERT_BPFTOOL}" gen object "${generated}/${name}.bpf.o" "${generated}/${name}.dwarf.o"
		DEPENDS "${program}" "${generated}/vmlinux.h"
		DEPFILE "${generated}/${name}.d"
		COMMENT "BPF object ${name}"
		VERBATIM)
	add_custom_command(
		OUTPUT "${generated}/${name}.skel.h"
		COMMAND "${CULVERT_BPFTOOL}" gen skeleton "${generated}/${name}.bpf.o" name "${name}_bpf" > "${generated}/${name}.skel.h.new"
		COMMAND "${CMAKE_COMMAND}" -E rename "${generated}/${name}.skel.h.new" "${generated}/${name}.skel.h"
		DEPENDS "${generated}/${name}.bpf.o"
		COMMENT "BPF skeleton ${name}"
		VERBATIM)
	list(APPEND skeletons "${generated}/${name}.skel.h")
endforeach()

add_custom_target(culvert_skeletons DEPENDS ${skeletons})
add_library(culvert_bpf INTERFACE)
add_dependencies(culvert_bpf culvert_skeletons)
target_include_directories(culvert_bpf SYSTEM INTERFACE "${generated}")
target_link_libraries(culvert_bpf INTERFACE PkgConfig::LIBBPF)
