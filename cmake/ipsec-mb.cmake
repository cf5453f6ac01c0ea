# culvert_ipsec_mb: Intel's multi-buffer library (BSD-3-Clause), which seals AES-GCM fastest on x86-64. It is the distribution's, and there is none for
# other processors; without it wolfCrypt does all.
option(CULVERT_IPSEC_MB "Seal records by Intel's multi-buffer library where it is installed" ON)

if(CULVERT_IPSEC_MB AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
	find_path(IPSEC_MB_INCLUDE intel-ipsec-mb.h)
	find_library(IPSEC_MB_LIBRARY NAMES IPSec_MB)
	mark_as_advanced(IPSEC_MB_INCLUDE IPSEC_MB_LIBRARY)
	if(IPSEC_MB_INCLUDE AND IPSEC_MB_LIBRARY)
		add_library(culvert_ipsec_mb INTERFACE)
		target_include_directories(culvert_ipsec_mb SYSTEM INTERFACE "${IPSEC_MB_INCLUDE}")
		target_link_libraries(culvert_ipsec_mb INTERFACE "${IPSEC_MB_LIBRARY}")
		target_compile_definitions(culvert_ipsec_mb INTERFACE CULVERT_IPSEC_MB)
		message(STATUS "ipsec-mb: ${IPSEC_MB_LIBRARY}")
	else()
		message(STATUS "ipsec-mb: it is not installed (libipsec-mb-dev), records are sealed by wolfCrypt")
	endif()
endif()
